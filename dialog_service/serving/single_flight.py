"""One run of the same work at a time in this process; whoever else asks waits for that run."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Runs work by key. A caller that is cancelled stops waiting; the run goes on for the others.

    A run that failed raises its error to everyone who waited for it.
    """

    def __init__(self) -> None:
        """Nothing under way."""
        self._flights: dict[Hashable, asyncio.Task[T]] = {}

    def is_running(self, key: Hashable) -> bool:
        """Whether there is a run for ``key`` now."""
        return key in self._flights

    async def run(self, key: Hashable, work: Callable[[], Awaitable[T]]) -> T:
        """Result of the run for ``key``: one that is under way, or else a new run of ``work``."""
        raise NotImplementedError
