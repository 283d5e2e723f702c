"""Answers that come from the pools alone, held against a bare echo in the same run.

    python tests/bench/pooled.py                      a minute or so
    python tests/bench/pooled.py --clients 1 --clients 64 --seconds 20

The service, in one process and in one for each core, and one of the echoes have processes of their
own, clients share another; the other echo is in the clients' process. ``filled_pools`` tells how
the model is kept out of it.
"""

import asyncio
import itertools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import over_the_wire
import typer
from filled_pools import SERVINGS, Answers, FilledPools, running_redis
from over_the_wire import Latencies
from results import save, wide_console
from rich.table import Table

from dialog_service.checkpoint import DEFAULT_CHECKPOINT

MOST_A_SECOND = 2500  # answers that there are pools for; where they are used up, a row ends early
_console = wide_console()


class Row(NamedTuple):
    """A load, and what share of its answers came whole from a full pool (of an echo, none)."""

    latencies: Latencies
    pooled_share: float | None


def pools_for(seconds: float) -> int:
    """How many pools a row takes at the most."""
    return math.ceil(seconds * MOST_A_SECOND / SERVINGS)


def named(processes: int) -> str:
    """What the row of a service of so many is called."""
    return f"{over_the_wire.named(processes)}, from full pools"


def from_pools(
    address: str, pools: FilledPools, clients: int, asked: tuple[int, float], *, label: str
) -> Row:
    """A service under a load of so many replies a request, for so many seconds."""
    replies, seconds = asked
    pools.fill()
    answers = Answers([address], pools.deck(replies))
    found = asyncio.run(over_the_wire.closed_loop(answers.connect, clients, seconds))
    return Row(over_the_wire.row(label, clients, *found), answers.pooled_share)


def rows(checkpoint: Path, clients: Sequence[int], asked: tuple[int, float]) -> Iterator[Row]:
    """The service in one process and in several, then both echoes, with each number of clients."""
    with running_redis() as server:
        pools = FilledPools.make(server, pools_for(asked[1]), checkpoint)
        flags = ("--model", str(checkpoint), "--redis-url", server.url)
        for processes in over_the_wire.process_counts():
            with over_the_wire.our_service(*flags, "--processes", str(processes)) as address:
                for count in clients:
                    yield from_pools(address, pools, count, asked, label=named(processes))
    for echo in (over_the_wire.echo_apart, over_the_wire.echo):
        for found in echo(clients, asked[1]):
            yield Row(found, None)


def ratios(found: Sequence[Row]) -> dict[str, dict[str, dict[int, float]]]:
    """The rate of each service over that of each echo, by the number of clients."""
    shares: dict[str, dict[str, dict[int, float]]] = {}
    services = [row.latencies for row in found if row.pooled_share is not None]
    echoes = [row.latencies for row in found if row.pooled_share is None]
    for ours, echo in itertools.product(services, echoes):
        if ours.clients == echo.clients:
            against = shares.setdefault(ours.server, {}).setdefault(echo.server, {})
            against[ours.clients] = ours.requests_per_second / echo.requests_per_second
    return shares


def table(found: Sequence[Row]) -> Table:
    """Rates and latencies."""
    shown = Table("", "clients", "requests/s", "p50 ms", "p99 ms", "from full pools", box=None)
    for row, share in found:
        milliseconds = (f"{1000 * each:.2f}" for each in (row.p50_seconds, row.p99_seconds))
        rate = f"{row.requests_per_second:.0f}"
        said = "" if share is None else f"{share:.2%}"
        shown.add_row(row.server, str(row.clients), rate, *milliseconds, said)
    return shown


def main(
    clients: Annotated[list[int] | None, typer.Option(min=1, show_default="1, 32")] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="For each row.")] = 6.0,
    replies: Annotated[int, typer.Option(min=1, max=32, help="Of each request.")] = 5,
    checkpoint: Annotated[Path, typer.Option(help="Whose replies.")] = DEFAULT_CHECKPOINT,
    output: Annotated[Path, typer.Option(help="A folder.")] = Path("build/bench"),
) -> None:
    """Requests/s of answers that need no model, and their ratio to what gRPC does with none.

    Thousands of utterances have a full pool each, made before and asked for twice at most, so that
    no pool loses a candidate and the model has nothing to do; "from full pools" says how many
    answers were so. pooled.json goes to the folder.
    """
    found: list[Row] = []
    with _console.status("pooled: filling pools") as status:
        for row in rows(checkpoint, clients or (1, 32), (replies, seconds)):
            found.append(row)
            measured = row.latencies
            status.update(f"pooled, measured: {measured.server}, {measured.clients} clients")
    against = ratios(found)
    written = [{**row.latencies._asdict(), "pooled_share": row.pooled_share} for row in found]
    save(output, "pooled", rows=written, ratios=against)
    _console.print(table(found))
    for ours, echoes in against.items():
        for echo, by_clients in echoes.items():
            each = ", ".join(f"{ratio:.2f} with {n} clients" for n, ratio in by_clients.items())
            _console.print(f"{ours}, to {echo}: {each}")


if __name__ == "__main__":
    typer.run(main)
