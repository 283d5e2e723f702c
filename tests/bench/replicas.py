"""One replica and two that share a Redis; and on paper, how many a load needs.

    python tests/bench/replicas.py                    a minute and a half or so
    python tests/bench/replicas.py --replies 5 --seconds 10

Every replica, its clients and Redis share this machine's cores, so what is measured is a floor.
"""

import asyncio
import contextlib
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple
from unittest import mock

import over_the_wire
import typer
from filled_pools import Answers, FilledPools, running_redis
from pooled import pools_for
from redis_process import RedisProcess
from results import save, wide_console
from rich.table import Table

from dialog_service.checkpoint import DEFAULT_CHECKPOINT

MOST_BUSY = 0.7  # of a core, on paper: beyond, those who come at random wait long for one another
LOADS = (100, 1_000, 10_000)  # requests/s, on paper
GENERATED_SHARES = {"all new": 1.0, "a third": 1 / 3, "none": 0.0}
_console = wide_console()


class Fleet(NamedTuple):
    """Replicas of so many threads each."""

    replicas: int
    threads: int


FLEETS = (Fleet(1, 1), Fleet(1, 2), Fleet(2, 1))


class Plan(NamedTuple):
    """What is asked of every fleet."""

    checkpoint: Path
    clients: int
    replies: int
    seconds: float


class Found(NamedTuple):
    """Of one fleet: requests/s of generated answers, and of those from full pools.

    ``redis_seconds`` is what Redis worked for one of the latter.
    """

    replicas: int
    threads: int
    generated_per_second: float
    pooled_per_second: float
    pooled_share: float
    redis_seconds: float


class Costs(NamedTuple):
    """Seconds of a core: ``request`` for serving one, ``reply`` for generating one of its replies,
    and ``redis``, of the one core that Redis has, for a request.
    """

    request: float
    reply: float
    redis: float

    @classmethod
    def of(cls, found: Found, replies: int) -> "Costs":
        """From a fleet that had a core for each replica, to whom its clients' work is charged."""
        cores = found.replicas * found.threads
        request = cores / found.pooled_per_second
        reply = max(0.0, cores / found.generated_per_second - request) / replies
        return cls(request, reply, found.redis_seconds)


def replicas_needed(
    costs: Costs, *, requests_per_second: float, replies: int, generated_share: float
) -> int:
    """Replicas of one core for R requests/s of N replies, a share g of which is generated.

    ceil(R (request + g N reply) / u), where u is how busy a core may be. Of popular utterances a
    third is generated, as each candidate serves three requests; in idle time pools grow for free.
    """
    seconds = costs.request + generated_share * replies * costs.reply
    return math.ceil(requests_per_second * seconds / MOST_BUSY)


def measured(fleet: Fleet, plan: Plan, pools: FilledPools) -> Found:
    """A fleet on the Redis of some pools."""
    with _running(fleet, plan.checkpoint, pools.server.url) as addresses:
        workload = over_the_wire.generated(plan.replies)
        latencies, taken = over_the_wire.loaded(
            addresses, workload, clients=plan.clients, seconds=plan.seconds
        )
        pools.fill()
        before = _worked_seconds(pools.server)
        answers = Answers(addresses, pools.deck(plan.replies))
        loop = over_the_wire.closed_loop(answers.connect, plan.clients, plan.seconds)
        pooled, pooled_taken = asyncio.run(loop)
        redis_seconds = (_worked_seconds(pools.server) - before) / len(pooled)
    rates = (len(latencies) / taken, len(pooled) / pooled_taken)
    return Found(*fleet, *rates, answers.pooled_share, redis_seconds)


@contextlib.contextmanager
def _running(fleet: Fleet, checkpoint: Path, redis_url: str) -> Iterator[list[str]]:
    """The addresses of its replicas, all of which share a Redis."""
    flags = ("--model", str(checkpoint), "--redis-url", redis_url)
    with contextlib.ExitStack() as stack:
        with mock.patch.dict(os.environ, OMP_NUM_THREADS=str(fleet.threads)):
            services = [over_the_wire.our_service(*flags) for _ in range(fleet.replicas)]
            addresses = [stack.enter_context(service) for service in services]
        yield addresses


def _worked_seconds(server: RedisProcess) -> float:
    """Of a core, by Redis until now."""
    with server.client as client:
        worked = client.info("cpu")
    return float(worked["used_cpu_user"] + worked["used_cpu_sys"])


def measured_table(found: Sequence[Found]) -> Table:
    """What was measured, and what the last fleet gains over the first."""
    columns = ("generated/s", "from pools/s", "from full pools", "Redis us")
    shown = Table("replicas", "threads each", *columns, box=None)
    for each in found:
        rates = (f"{each.generated_per_second:.1f}", f"{each.pooled_per_second:.0f}")
        redis = f"{1e6 * each.redis_seconds:.0f}"
        shown.add_row(
            str(each.replicas), str(each.threads), *rates, f"{each.pooled_share:.2%}", redis
        )
    first, last = found[0], found[-1]
    gains = (
        last.generated_per_second / first.generated_per_second,
        last.pooled_per_second / first.pooled_per_second,
    )
    shown.add_row("last / first", "", *(f"x{gain:.2f}" for gain in gains), style="bold")
    return shown


def paper_rows(costs: Costs, replies: int) -> list[dict[str, float]]:
    """Replicas for each load of the table, by the share of replies that are generated."""
    return [
        {"requests_per_second": load}
        | {
            name: replicas_needed(
                costs, requests_per_second=load, replies=replies, generated_share=share
            )
            for name, share in GENERATED_SHARES.items()
        }
        for load in LOADS
    ]


def paper_table(costs: Costs, replies: int) -> Table:
    """The same to look at."""
    shown = Table("requests/s", *(f"generated: {name}" for name in GENERATED_SHARES), box=None)
    for row in paper_rows(costs, replies):
        shown.add_row(*(str(value) for value in row.values()))
    return shown


def main(
    clients: Annotated[int, typer.Option(min=1, help="Of all replicas together.")] = 32,
    replies: Annotated[int, typer.Option(min=1, max=32, help="Of each request.")] = 10,
    seconds: Annotated[float, typer.Option(min=0.1, help="For each load.")] = 6.0,
    checkpoint: Annotated[Path, typer.Option(help="What is served.")] = DEFAULT_CHECKPOINT,
    output: Annotated[Path, typer.Option(help="A folder.")] = Path("build/bench"),
) -> None:
    """Requests/s of one replica and of two that share a Redis, generated and from full pools.

    From the last row come the constants of a model on paper: replicas of one core for R requests/s
    of N replies, a share g of which is generated, are R (request + g N reply) / 0.7. It leaves out
    the network, and what one Redis takes is its limit. replicas.json goes to the folder.
    """
    plan = Plan(checkpoint, clients, replies, seconds)
    found: list[Found] = []
    with _console.status("replicas: filling pools") as status, running_redis() as server:
        pools = FilledPools.make(server, pools_for(seconds), checkpoint)
        for fleet in FLEETS:
            found.append(measured(fleet, plan, pools))
            status.update(f"replicas, measured: {fleet.replicas} of {fleet.threads} threads")
    costs = Costs.of(found[-1], replies)
    rows = [each._asdict() for each in found]
    save(output, "replicas", measured=rows, costs=costs._asdict(), paper=paper_rows(costs, replies))
    _console.print(measured_table(found))
    _console.print(
        f"\nOn paper: {1e3 * costs.request:.2f} ms of a core a request and "
        f"{1e3 * costs.reply:.2f} ms a generated reply; {replies} replies, cores "
        f"{MOST_BUSY:.0%} busy; one Redis for {MOST_BUSY / costs.redis:.0f} requests/s."
    )
    _console.print(paper_table(costs, replies))


if __name__ == "__main__":
    typer.run(main)
