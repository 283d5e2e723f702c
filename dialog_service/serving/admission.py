"""Whether the server takes requests: loading, then open, then draining. Counts those under way."""

import asyncio
import contextlib
import enum
from collections.abc import Iterator

from dialog_service.errors import NotReady


class Phase(enum.StrEnum):
    """Of the life of a server."""

    LOADING = "loading"
    OPEN = "open"
    DRAINING = "draining"


class Admission:
    """The door that every request passes."""

    def __init__(self) -> None:
        """Closed: loading."""
        self.phase = Phase.LOADING
        self._under_way = 0
        self._refused = 0
        self._is_idle = asyncio.Event()
        self._is_idle.set()

    def open(self) -> None:
        """Take requests from now on."""
        self.phase = Phase.OPEN

    def close(self) -> None:
        """Take no more requests; those under way go on."""
        self.phase = Phase.DRAINING

    @contextlib.contextmanager
    def request(self) -> Iterator[None]:
        """Count a request while the block runs.

        Raises:
            NotReady: the server is loading or draining.
        """
        if self.phase is not Phase.OPEN:
            self._refused += 1
            raise NotReady(f"the server is {self.phase.value}", retry_after_seconds=1.0)
        self._under_way += 1
        self._is_idle.clear()
        try:
            yield
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._is_idle.set()

    async def wait_until_idle(self, timeout_seconds: float) -> bool:
        """Whether the last request under way ended in time."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._is_idle.wait()
        except TimeoutError:
            return False
        return True

    async def wait_until_quiet(self, quiet_seconds: float, *, timeout_seconds: float) -> None:
        """Go on refusing until nobody has come for a while, or the time is up."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                seen = -1
                while seen != self._refused:
                    seen = self._refused
                    await asyncio.sleep(quiet_seconds)
