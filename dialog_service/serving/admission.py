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
        self.held = 0  # refusals that wait to go out
        self._under_way = 0
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self._may_refuse = asyncio.Event()
        self._may_refuse.set()

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

    async def gather(self, quiet_seconds: float, *, timeout_seconds: float) -> None:
        """Hold refusals until ``release``; returns when no more have come for a while."""
        self._may_refuse.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                seen = -1
                while seen != self.held:
                    seen = self.held
                    await asyncio.sleep(quiet_seconds)

    def release(self) -> None:
        """Let refusals go out."""
        self._may_refuse.set()

    async def wait_to_refuse(self) -> None:
        """Return when a refusal may go out: at once, unless they are held."""
        self.held += 1
        try:
            await self._may_refuse.wait()
        finally:
            self.held -= 1
