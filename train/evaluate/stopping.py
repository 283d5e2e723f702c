"""Ctrl-C and SIGTERM as an exception: what is done is on disk already, so there is no step to end.

Unlike ``train.interruption``, which lets the step under way finish and save.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_STOPPING = (signal.SIGINT, signal.SIGTERM)


class Stopped(BaseException):
    """A signal asked to stop. Not an Exception, so that nothing takes it for a failure."""

    def __init__(self, number: signal.Signals) -> None:
        """Keep which signal it was."""
        super().__init__(number.name)
        self.signal = number

    @property
    def exit_code(self) -> int:
        """As shells have it."""
        return 128 + self.signal


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Raise ``Stopped`` within the block, once: whoever is told twice is already stopping."""
    old = {number: signal.getsignal(number) for number in _STOPPING}

    def stop(number: int, frame: FrameType | None) -> None:
        for each in _STOPPING:
            signal.signal(each, signal.SIG_IGN)
        raise Stopped(signal.Signals(number))

    for number in _STOPPING:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
