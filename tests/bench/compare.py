"""The engine, the service and what they are held against, side by side in one run.

    python tests/bench/compare.py                     some minutes
    python tests/bench/compare.py --quick --no-peer

Servers and clients share this machine, so rates over the wire are a floor; what counts is ratios.
The forced rows have the paper's sizes, random weights, 10 replies of 20 tokens, no end; the real
ones the packaged model, its own sampling, 10 replies.
"""

import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, NamedTuple

import in_process
import matplotlib.pyplot as plt
import over_the_wire
import torch
import typer
from forced_checkpoint import save_forced
from in_process import REPLIES, Rate
from litserve_load import litserve
from over_the_wire import Latencies
from results import save, wide_console
from rich.table import Table

import dialog_service
from dialog_service.engine.precision import multiplies_bf16

PACKAGED = Path(dialog_service.__file__).parent / "checkpoints" / "default"
CLIENTS = (1, 4, 16, 32, 64, 128)
FEW = (1, 32)
_console = wide_console()


class Wanted(NamedTuple):
    """What of it to measure, and for how long each."""

    seconds: float
    clients: tuple[int, ...]
    has_peer: bool


def rates(forced: Path, budget: float) -> Iterator[Rate]:
    """All that needs no network."""
    for rows in (REPLIES, 32 * REPLIES):
        yield from in_process.products(rows, budget)
    for batch in (1, 32):
        yield from in_process.plain(batch, budget)
        yield from in_process.engine(forced, batch, budget, label="engine")
        yield from in_process.plain_trained(PACKAGED, batch, budget)
        yield from in_process.engine(PACKAGED, batch, budget, label="engine, trained")


def latencies(forced: Path, wanted: Wanted) -> Iterator[Latencies]:
    """All that goes over the wire."""
    seconds = wanted.seconds
    for processes in over_the_wire.process_counts():
        with _forced_service(forced, processes) as address:
            yield from over_the_wire.service(
                [address],
                wanted.clients,
                seconds,
                label=over_the_wire.named(processes),
                workload=over_the_wire.generated(REPLIES),
            )
    if wanted.has_peer:
        yield from litserve(wanted.clients, seconds, is_autocast=False)
    if wanted.has_peer and multiplies_bf16(torch.device("cpu")):  # others cannot run its LSTM
        yield from litserve(wanted.clients, seconds, is_autocast=True)
    with over_the_wire.our_service("--redis-url", "embedded") as address:
        for label, workload in (
            ("service, packaged model", over_the_wire.generated(5)),
            ("service, repeated utterances", over_the_wire.repeated(5)),
        ):
            yield from over_the_wire.service(
                [address], FEW, seconds, label=label, workload=workload
            )
    yield from over_the_wire.echo(FEW, seconds)


def _forced_service(forced: Path, processes: int) -> AbstractContextManager[str]:
    """One without a Redis and with room for all that clients send; its address."""
    flags = ("--model", str(forced), "--redis-url", "off", "--processes", str(processes))
    room = ("--max-batch-sequences", "640", "--queue-capacity-sequences", "4096")
    return over_the_wire.our_service(*flags, *room)


def rate_table(found: list[Rate]) -> Table:
    """In-process rates: products in GFLOP/s, all else in requests/s."""
    table = Table("in this process", "batch", "a second", box=None)
    for row in found:
        is_product = row.per_second > 1e6
        shown = f"{row.per_second / 1e9:.0f} GFLOP" if is_product else f"{row.per_second:.1f}"
        table.add_row(row.what, str(row.batch), shown)
    return table


def latency_table(found: list[Latencies]) -> Table:
    """Rates and latencies over the wire."""
    table = Table("over the wire", "clients", "requests/s", "p50 ms", "p99 ms", box=None)
    for row in found:
        milliseconds = (f"{1000 * each:.0f}" for each in (row.p50_seconds, row.p99_seconds))
        table.add_row(row.server, str(row.clients), f"{row.requests_per_second:.1f}", *milliseconds)
    return table


def plot(found: list[Latencies], path: Path) -> None:
    """Throughput against latency, one line a server."""
    figure, axes = plt.subplots(figsize=(7, 5))
    for server in dict.fromkeys(row.server for row in found):
        rows = [row for row in found if row.server == server]
        places = [row.requests_per_second for row in rows], [1000 * r.p50_seconds for r in rows]
        axes.plot(*places, marker="o", label=server)
        for row, *place in zip(rows, *places, strict=True):
            axes.annotate(str(row.clients), place, fontsize=7)
    axes.set(
        xscale="log", yscale="log", xlabel="requests/s", ylabel="p50, ms", title="clients at points"
    )
    axes.legend()
    figure.savefig(path, dpi=120, bbox_inches="tight")


def written(rate_rows: list[Rate], latency_rows: list[Latencies], output: Path) -> None:
    """bench.json and bench.png."""
    rates, latencies = ([row._asdict() for row in rows] for rows in (rate_rows, latency_rows))
    save(output, "bench", rates=rates, latencies=latencies)
    plot(latency_rows, output / "bench.png")


def main(
    seconds: Annotated[float, typer.Option(min=0.2, help="For each row.")] = 8.0,
    output: Annotated[Path, typer.Option(help="A folder.")] = Path("build/bench"),
    is_quick: Annotated[bool, typer.Option("--quick", help="1 and 32 clients.")] = False,
    has_peer: Annotated[bool, typer.Option("--peer/--no-peer", help="LitServe too.")] = True,
) -> None:
    """Measure it all; bench.json, bench.png and the tables go to the folder."""
    wanted = Wanted(seconds, FEW if is_quick else CLIENTS, has_peer)
    rate_rows: list[Rate] = []
    latency_rows: list[Latencies] = []
    with tempfile.TemporaryDirectory() as folder, _console.status("") as status:
        forced = Path(folder) / "forced"
        save_forced(forced)
        try:
            for rate in rates(forced, min(seconds, 3.0)):
                rate_rows.append(rate)
                status.update(f"measured: {rate.what}, {rate.batch} at a time")
            for latency in latencies(forced, wanted):
                latency_rows.append(latency)
                status.update(f"measured: {latency.server}, {latency.clients} clients")
        finally:  # minutes of measurements are not lost with the last one
            written(rate_rows, latency_rows, output)
    for table in (rate_table(rate_rows), latency_table(latency_rows)):
        _console.print(table)
    _console.print(f"also in {output}: bench.json, bench.png")


if __name__ == "__main__":
    typer.run(main)
