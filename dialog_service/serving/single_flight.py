"""One run of the same work at a time in this process; whoever else asks waits for that run."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class _Flight(Generic[T]):
    """One run and how many wait for it."""

    task: asyncio.Task[T]
    waiting: int = 0


class SingleFlight(Generic[T]):
    """Runs work by key. A run goes on while anyone waits for it; with the last one it is cancelled.

    A run that fails raises its error to everyone who waits for it.
    """

    def __init__(self) -> None:
        """Nothing under way."""
        self._flights: dict[Hashable, _Flight[T]] = {}

    def is_running(self, key: Hashable) -> bool:
        """Whether there is a run for ``key`` now."""
        return key in self._flights

    async def run(self, key: Hashable, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Result of the run for ``key``: the one under way, or else a new run of ``work``."""
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = _Flight(asyncio.create_task(work()))
            flight.task.add_done_callback(lambda _: self._forget(key, flight))
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.task.done():
                self._forget(key, flight)  # whoever comes now starts anew
                flight.task.cancel()

    def _forget(self, key: Hashable, flight: _Flight[T] | None) -> None:
        """Remove a run that has ended, unless another has taken its place."""
        if self._flights.get(key) is flight:
            del self._flights[key]
