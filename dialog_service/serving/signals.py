"""What tells a server to end or to look for new checkpoints: signals, or orders over a pipe.

An order is the number of a signal in one byte. Whoever starts a server gives orders instead of
signals where a terminal or a service manager may signal the server too: the same wish, told twice,
then counts once.
"""

import asyncio
import os
import signal
from collections.abc import Callable

_ENDING = (signal.SIGTERM, signal.SIGINT)
_MOST_AT_ONCE = 4096


def order(number: signal.Signals) -> bytes:
    """What to write for a signal."""
    return bytes([number])


class Signals:
    """Those that a server gets; belongs to the running event loop."""

    def __init__(self, on_reload: Callable[[], None]) -> None:
        """Catch them from now on; ``on_reload`` is called for every SIGHUP."""
        self._on_reload = on_reload
        self._loop = asyncio.get_running_loop()
        self.ending: asyncio.Future[signal.Signals] = self._loop.create_future()
        for number in _ENDING:
            self._loop.add_signal_handler(number, self._end, number)
        self._loop.add_signal_handler(signal.SIGHUP, on_reload)

    def obey(self, pipe: int) -> None:
        """Take orders too. That nobody is left who could give any is like SIGTERM."""
        os.set_blocking(pipe, False)
        self._loop.add_reader(pipe, self._read, pipe)

    def _read(self, pipe: int) -> None:
        orders = os.read(pipe, _MOST_AT_ONCE)
        for number in map(signal.Signals, orders):
            self._take(number)
        if not orders:
            self._loop.remove_reader(pipe)
            self._take(signal.SIGTERM)

    def _take(self, number: signal.Signals) -> None:
        if number is signal.SIGHUP:
            self._on_reload()
        elif not self.ending.done():
            self.ending.set_result(number)

    def _end(self, number: signal.Signals) -> None:
        """A signal came: the next one, of somebody who cannot wait, is not caught."""
        self._take(number)
        for each in _ENDING:
            self._loop.remove_signal_handler(each)
