"""Ctrl-C and SIGTERM as a request to stop after the step under way, so that the run is saved."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SAME_REQUEST_SECONDS = 1.0


class StopRequests:
    """The signal that asked to stop, if one did; a second request ends the process at once.

    Signals within a second of the first are one request: what a terminal sends to all processes
    of a group, torchrun sends to its own processes once more.
    """

    def __init__(self) -> None:
        """Nobody has asked."""
        self.caught: signal.Signals | None = None
        self._caught_at = 0.0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        if self.caught is None:
            self.caught, self._caught_at = signal.Signals(number), time.monotonic()
        elif time.monotonic() - self._caught_at > SAME_REQUEST_SECONDS:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)


@contextmanager
def stop_requests() -> Iterator[StopRequests]:
    """Catch SIGINT and SIGTERM within the block."""
    asked = StopRequests()
    old = {number: signal.signal(number, asked) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
