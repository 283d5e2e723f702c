"""What the milliseconds of a request are spent on, inside and outside of the model.

    python tests/bench/budget.py                      half a minute or so
    python tests/bench/budget.py --seconds 20 --replies 5

The service runs in this process, its functions timed, and its clients in another.
"""

import asyncio
import contextlib
import multiprocessing
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Annotated, NamedTuple

import over_the_wire
import typer
from filled_pools import Answers, FilledPools, running_redis
from pooled import pools_for
from redis_process import RedisProcess
from results import save, wide_console
from rich.table import Table
from timed_parts import Part, TimedParts

from dialog_service.checkpoint import DEFAULT_CHECKPOINT
from dialog_service.load.workload import Kind, Workload
from dialog_service.serving.app import Server
from dialog_service.serving.settings import Settings

_MODEL = (Part.TOKENISE, Part.ENCODE, Part.DECODE, Part.SAY)
_OUTSIDE = (Part.PARSE, Part.RECORD)  # of what the service counts as the call
_HISTOGRAMS = {"request": {"method": "GenerateReplies"}, "queue": {}, "inference": {}}
_console = wide_console()

Sent = tuple[Sequence[float], float | None]
"""Seconds that each request took, and the share that came from full pools."""


class Plan(NamedTuple):
    """What is measured."""

    checkpoint: Path
    clients: int
    replies: int
    seconds: float


class Reading(NamedTuple):
    """All that counts seconds, at one moment; ``loop`` and ``process`` are those of a core."""

    parts: Mapping[Part, float]
    request: float
    queue: float
    inference: float
    loop: float
    process: float


class Budget(NamedTuple):
    """Milliseconds of a request under one load: ``elapsed`` adds up to what its caller waits."""

    load: str
    requests: int
    pooled_share: float | None
    elapsed: dict[str, float]
    loop_worked: float
    process_worked: float


def new_utterances(address: str, clients: int, replies: int, seconds: float) -> Sent:
    """Unseeded requests that no pool has anything for, and whose replies go into one."""
    workload = Workload(mix={Kind.UNARY: 1}, repeated_share=0, reply_count=replies)
    latencies, _ = over_the_wire.loaded([address], workload, clients=clients, seconds=seconds)
    return latencies, None


def full_pools(address: str, deck: deque[bytes], clients: int, seconds: float) -> Sent:
    """Requests that need no model."""
    answers = Answers([address], deck)
    latencies, _ = asyncio.run(over_the_wire.closed_loop(answers.connect, clients, seconds))
    return latencies, answers.pooled_share


def elapsed(sent: Sent, before: Reading, after: Reading) -> dict[str, float]:
    """Milliseconds of a request by where they went; the model's are its share of a batch's."""
    count = len(sent[0])
    parts = {part: after.parts[part] - before.parts[part] for part in Part}
    queue, inference = after.queue - before.queue, after.inference - before.inference
    model = sum(parts[part] for part in _MODEL) if inference else 0.0
    inside = sum(parts[part] for part in Part if part not in _OUTSIDE)
    others = {
        "queue": queue,
        "beside others, between threads": inference - model,
        "else in the call": after.request - before.request - inside - queue - (inference - model),
    }
    seconds = {**{part.value: parts[part] for part in Part}, **others}
    seconds["gRPC, network, client"] = sum(sent[0]) - sum(seconds.values())
    return {name: 1000 * value / count for name, value in seconds.items()}


class Watched:
    """A service in this process whose functions are timed."""

    def __init__(
        self, server: Server, address: str, parts: TimedParts, clients: ProcessPoolExecutor
    ) -> None:
        """Of a server that has started; ``clients`` is the process that sends requests."""
        self._server = server
        self._address = address
        self._parts = parts
        self._clients = clients

    async def under(self, load: str, send: Callable[..., Sent], *asked: object) -> Budget:
        """What becomes of requests that the other process sends."""
        loop = asyncio.get_running_loop()
        before = self._read()
        sent = await loop.run_in_executor(self._clients, send, self._address, *asked)
        after = self._read()
        count = len(sent[0])
        worked = (1000 * (after[i] - before[i]) / count for i in (-2, -1))
        return Budget(load, count, sent[1], elapsed(sent, before, after), *worked)

    def _read(self) -> Reading:
        value = self._server.metrics.registry.get_sample_value
        sums = (
            value(f"dialog_{name}_duration_seconds_sum", labels) or 0.0
            for name, labels in _HISTOGRAMS.items()
        )
        parts = dict.fromkeys(Part, 0.0) | self._parts.seconds
        return Reading(parts, *sums, time.thread_time(), time.process_time())


@contextlib.asynccontextmanager
async def watched(checkpoint: Path, redis_url: str) -> AsyncIterator[Watched]:
    """A service of a checkpoint, for as long as a block lasts."""
    settings = Settings(
        model=checkpoint, redis_url=redis_url, grpc_address="127.0.0.1:0", metrics_address="off"
    )
    parts = TimedParts()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as clients, parts.watching():
        started = clients.submit(time.time)
        server = Server(settings)
        addresses = await server.start()
        await asyncio.wrap_future(started)
        try:
            yield Watched(server, addresses.grpc, parts, clients)
        finally:
            await server.close()


async def budgets(plan: Plan, redis: RedisProcess) -> AsyncIterator[Budget]:
    """Of a lone client, of many, and of a lone one whose answers need no model."""
    clients, replies, seconds = plan[1:]
    async with watched(plan.checkpoint, redis.url) as service:
        for count in (1, clients):
            with redis.client as client:
                client.flushall()  # every load sends the same
            load = f"{count} client{'s' * (count > 1)}"
            yield await service.under(load, new_utterances, count, replies, seconds)
        # A second model in this process slows the first one, which has nothing to do any more.
        made = FilledPools.make, redis, pools_for(seconds), plan.checkpoint
        pools = await asyncio.to_thread(*made)
        pools.fill()
        deck = pools.deck(replies)
        yield await service.under("1 client, full pools", full_pools, deck, 1, seconds)


def table(found: Sequence[Budget]) -> Table:
    """A line for each part, and the sums below."""
    shown = Table("ms of a request", box=None)
    for each in found:
        shown.add_column(each.load, justify="right", no_wrap=True)
        shown.add_column("", justify="right")
    sums = [sum(each.elapsed.values()) for each in found]
    for name in found[0].elapsed:
        values = [each.elapsed[name] for each in found]
        shown.add_row(name, *_cells(values, sums))
    shown.add_row("all that the caller waits", *_cells(sums, sums), style="bold")
    shares = ["" if each.pooled_share is None else f"{each.pooled_share:.2%}" for each in found]
    shown.add_row("answers from full pools", *(cell for each in shares for cell in (each, "")))
    for name, values in (
        ("worked: the event loop's thread", [each.loop_worked for each in found]),
        ("worked: the service's process", [each.process_worked for each in found]),
    ):
        shown.add_row(name, *(cell for value in values for cell in (f"{value:.2f}", "")))
    return shown


def _cells(values: Sequence[float], sums: Sequence[float]) -> list[str]:
    pairs = zip(values, sums, strict=True)
    return [cell for each, whole in pairs for cell in (f"{each:.2f}", f"{each / whole:.1%}")]


async def measured(plan: Plan, on_budget: Callable[[Budget], object]) -> None:
    """Tell of each load as it is measured."""
    with running_redis() as redis:
        async for budget in budgets(plan, redis):
            on_budget(budget)


def main(
    clients: Annotated[int, typer.Option(min=2, help="Beside the load of a lone one.")] = 32,
    replies: Annotated[int, typer.Option(min=1, max=32, help="Of each request.")] = 10,
    seconds: Annotated[float, typer.Option(min=0.1, help="For each load.")] = 6.0,
    checkpoint: Annotated[Path, typer.Option(help="What is served.")] = DEFAULT_CHECKPOINT,
    output: Annotated[Path, typer.Option(help="A folder.")] = Path("build/bench"),
) -> None:
    """What the milliseconds of a request are spent on: a lone client's, and with many at once.

    New utterances, unseeded: the pool is asked, has nothing, and gets what the model says. Of a
    batch's work each request has its share, and waits "beside others" for the rest of it. In the
    last load a lone client's answers come from pools that are full. What the threads "worked" is
    time of a core; all threads of the service's process are gRPC's and torch's own, too.
    budget.json goes to the folder.
    """
    found: list[Budget] = []
    plan = Plan(checkpoint, clients, replies, seconds)
    with _console.status("budget: the first load") as status:

        def on_budget(budget: Budget) -> None:
            found.append(budget)
            status.update(f"budget, measured: {budget.load}")

        asyncio.run(measured(plan, on_budget))
    save(output, "budget", loads=[each._asdict() for each in found])
    _console.print(table(found))


if __name__ == "__main__":
    typer.run(main)
