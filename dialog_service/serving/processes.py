"""Several processes that answer on one port, each a whole replica: started, watched and ended here.

The kernel spreads connections over them. They share a Redis; everything else each has for itself.
This process answers nothing, and imports neither torch nor grpc.
"""

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from dialog_service.errors import UserError
from dialog_service.serving.embedded_redis import EmbeddedRedis
from dialog_service.serving.replica import OnReady, Report
from dialog_service.serving.settings import Settings
from dialog_service.serving.shared_port import reserved
from dialog_service.serving.signals import order

REPLICA = (sys.executable, "-P", "-m", "dialog_service.serving.replica")
_FIRST_PAUSE_SECONDS = 1.0  # before one that has ended is started again; doubles each time
_LONGEST_PAUSE_SECONDS = 30.0
_SETTLED_SECONDS = 60.0  # after which a start has been a good one
_log = logging.getLogger(__name__)


async def run(settings: Settings, on_ready: OnReady, command: Sequence[str] = REPLICA) -> bool:
    """Serve with ``settings.processes`` processes until a signal, which they all get, ends them.

    Args:
        settings: of the service.
        on_ready: told where it listens, once every process takes requests.
        command: what each of them runs, with its number behind; speaks as ``replica.main`` does.

    Returns:
        Whether every process ended in order.

    Raises:
        UserError: the service could not start.
    """
    redis = EmbeddedRedis()
    with reserved(settings.grpc_address) as address:
        supervisor = Supervisor()
        try:
            shared = {"grpc_address": address, "redis_url": await _redis_url(settings, redis)}
            own = settings.model_copy(update=shared)
            children = [Child(own, number, command) for number in range(own.processes)]
            return await supervisor.run(children, lambda figures: on_ready(address, figures))
        finally:
            await redis.close()


class Supervisor:
    """Starts processes, keeps them running and passes signals on; belongs to its event loop."""

    def __init__(self) -> None:
        """Catch signals from now on."""
        self._children: Sequence[Child] = ()
        loop = asyncio.get_running_loop()
        self._ending: asyncio.Future[signal.Signals] = loop.create_future()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end, number)
        loop.add_signal_handler(signal.SIGHUP, self._order, signal.SIGHUP)

    async def run(
        self, children: Sequence["Child"], on_ready: Callable[[Sequence[str]], None]
    ) -> bool:
        """Whether they ended in order, after a signal; ``on_ready`` gets the figures' addresses.

        Raises:
            UserError: one of them could not start.
        """
        self._children = children
        keeping = asyncio.create_task(self._keep(on_ready))
        either: set[asyncio.Future[Any]] = {keeping, self._ending}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if keeping.done():
                await keeping  # which raises why
            keeping.cancel()
            await asyncio.wait({keeping})
            self._order(await self._ending)
            codes = await asyncio.gather(*(child.ended() for child in children))
            return not any(codes)
        finally:
            self._kill()
            await asyncio.gather(*(child.ended() for child in children))

    async def _keep(self, on_ready: Callable[[Sequence[str]], None]) -> None:
        await _all_started(self._children)
        on_ready([child.metrics for child in self._children if child.metrics])
        await asyncio.gather(*(child.keep() for child in self._children))

    def _end(self, number: signal.Signals) -> None:
        """End in order; at once where somebody cannot wait and says so again."""
        if self._ending.done():
            self._kill()
        else:
            self._ending.set_result(number)

    def _order(self, number: signal.Signals) -> None:
        for child in self._children:
            child.order(number)

    def _kill(self) -> None:
        for child in self._children:
            child.kill()


class Child:
    """One process, or the next one in its place.

    It has a process group of its own, so that a terminal's Ctrl-C reaches it once: as an order.
    Orders go over its input, whose end it also notices when this process is killed.
    """

    def __init__(self, settings: Settings, number: int, command: Sequence[str]) -> None:
        """Nothing runs before ``start``.

        Args:
            settings: of all, at the address where all listen.
            number: from 0; its figures are at the metrics port + ``number``.
            command: what it runs, with its number behind.
        """
        own = {"metrics_address": settings.metrics_address_of(number)}
        self.metrics: str | None = None
        self._settings = settings.model_copy(update=own)
        self._number = number
        self._command = command
        self._process: Process | None = None

    async def start(self) -> None:
        """Run it; returns when it takes requests.

        Raises:
            UserError: it cannot.
        """
        self._process = process = await asyncio.create_subprocess_exec(
            *(*self._command, str(self._number)),
            stdin=PIPE,
            stdout=PIPE,
            env=_environment(self._settings.processes),
            process_group=0,
        )
        assert process.stdin
        assert process.stdout
        process.stdin.write(f"{self._settings.model_dump_json()}\n".encode())
        said = Report.read(await process.stdout.readline())
        if said is None:
            how = _ending(await process.wait())
            raise UserError(f"a process of the service ended before it was ready: {how}")
        if said.error:
            raise UserError(said.error)
        self._remember(said.metrics)

    async def keep(self) -> None:
        """Start it again whenever it ends; never returns."""
        pauses = _pauses()
        while True:
            started = time.monotonic()
            why = _ending(await self.ended())
            if time.monotonic() - started > _SETTLED_SECONDS:
                pauses = _pauses()
            await self._start_again(why, pauses)

    async def ended(self) -> int:
        """Wait for its end; the exit code, negative for a signal, and 0 where none was started."""
        return await self._process.wait() if self._process else 0

    def order(self, number: signal.Signals) -> None:
        """Tell it what a signal would."""
        if self._process and self._process.stdin:
            self._process.stdin.write(order(number))

    def kill(self) -> None:
        """End it at once, if it runs."""
        if self._process and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):  # it ends just now
                self._process.kill()

    async def _start_again(self, why: str, pauses: Iterator[float]) -> None:
        """As often as it takes; until then there is no process, whose end would be its end."""
        self._process = None
        is_ready = False
        while not is_ready:
            pause = next(pauses)
            _log.error(
                "a process has ended and is started again",
                extra={"replica": self._number, "why": why, "in_seconds": pause},
            )
            await asyncio.sleep(pause)
            try:
                await self.start()
                is_ready = True
            except (UserError, OSError) as error:  # the latter of a machine that is short of all
                why = str(error)
                self.kill()
                await self.ended()
                self._process = None

    def _remember(self, metrics: str | None) -> None:
        """Show figures at the same address next time, where any port would have done."""
        self.metrics = metrics
        if metrics:
            own = {"metrics_address": metrics}
            self._settings = self._settings.model_copy(update=own)


async def _all_started(children: Sequence[Child]) -> None:
    """Start them; where one cannot, let none go on starting.

    Raises:
        UserError: why one could not.
    """
    try:
        async with asyncio.TaskGroup() as starting:
            for child in children:
                starting.create_task(child.start())
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None


async def _redis_url(settings: Settings, redis: EmbeddedRedis) -> str:
    """Where the Redis of all processes is."""
    if settings.redis_url != "embedded":
        return settings.redis_url
    # Where none can be run each process finds out, says so and keeps its pools to itself.
    return await redis.start() or "embedded"


def _environment(processes: int) -> dict[str, str]:
    """Of one of so many: its share of the cores, unless the user has said how many threads."""
    return {"OMP_NUM_THREADS": str(max(1, _cores() // processes)), **os.environ}


def _cores() -> int:
    """Those that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _pauses() -> Iterator[float]:
    pause = _FIRST_PAUSE_SECONDS
    while True:
        yield pause
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


def _ending(code: int) -> str:
    """How a process ended, for a person."""
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
