"""When calls are made: in a closed loop, or in an open one that does not wait for answers."""

import asyncio
import contextlib
import itertools
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from dialog_service.client import AsyncDialogClient, CallFailed
from dialog_service.load.calls import Judge, Outcome, call, keeps_its_promises
from dialog_service.load.workload import Shot, Workload

# Between a failed call and the next of the same client: a closed loop that is refused would else
# measure how fast that goes, and take the machine from those who are answered.
_PAUSE_SECONDS = 0.1

Connect = Callable[[], AsyncDialogClient]
OnOutcome = Callable[[Outcome], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is sent, by how many, for how long.

    Each client has a connection of its own. ``rate`` None is a closed loop: each client sends its
    next call when the last has ended. Otherwise so many calls a second arrive at random (Poisson),
    whether or not others have been answered, over the clients' connections in turn; the latency
    of a call then counts from when it was due, so that a stall shows in every call it delays.
    """

    workload: Workload
    clients: int = 8
    seconds: float = 10.0
    rate: float | None = None
    timeout_seconds: float = 30.0
    seed: int = 0


async def generate_load(
    connect: Connect, load: Load, on_outcome: OnOutcome, judge: Judge = keeps_its_promises
) -> None:
    """Make the calls of a load; returns when the last one has ended.

    Args:
        connect: makes clients that try nothing twice and have the load's deadline.
        load: what to send.
        on_outcome: told of each call when it has ended.
        judge: says what is wrong with an answer.
    """
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connect()) for _ in range(load.clients)]
        await asyncio.gather(*map(_connected, clients))  # which is no part of what is measured
        run = _Run(load, on_outcome, judge, time.perf_counter())
        await (run.closed(clients) if load.rate is None else run.open(clients, load.rate))


@dataclass(frozen=True, slots=True)
class _Run:
    """A load under way; times are those of ``time.perf_counter``."""

    load: Load
    on_outcome: OnOutcome
    judge: Judge
    start: float

    @property
    def end(self) -> float:
        """When the last call may be sent."""
        return self.start + self.load.seconds

    async def closed(self, clients: Sequence[AsyncDialogClient]) -> None:
        """Every client calls again when it has been answered."""
        first = self.load.seed * len(clients)
        numbered = enumerate(clients, start=first)
        await asyncio.gather(*(self._repeat(client, seed) for seed, client in numbered))

    async def open(self, clients: Sequence[AsyncDialogClient], rate: float) -> None:
        """Calls go out when they are due."""
        shots = self.load.workload.shots(self.load.seed)
        async with asyncio.TaskGroup() as calls:
            for client, due in zip(itertools.cycle(clients), self._arrivals(rate), strict=False):
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                calls.create_task(self._call(client, next(shots), due))

    async def _repeat(self, client: AsyncDialogClient, seed: int) -> None:
        shots = self.load.workload.shots(seed)
        while (now := time.perf_counter()) < self.end:
            outcome = await self._call(client, next(shots), now)
            if set(outcome.statuses) != {"OK"}:
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _call(self, client: AsyncDialogClient, shot: Shot, due: float) -> Outcome:
        timeout = self.load.timeout_seconds
        outcome = await call(client, shot, timeout_seconds=timeout, due=due, judge=self.judge)
        self.on_outcome(outcome)
        return outcome

    def _arrivals(self, rate: float) -> Iterator[float]:
        """When calls are due in an open loop."""
        chance = random.Random(self.load.seed)
        due = self.start
        while (due := due + chance.expovariate(rate)) < self.end:
            yield due


async def _connected(client: AsyncDialogClient) -> None:
    """Return when a client has a connection, or found nobody to connect to."""
    with contextlib.suppress(CallFailed):
        await client.is_ready()
