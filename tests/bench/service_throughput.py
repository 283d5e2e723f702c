"""Requests per second and latency of a real service under closed-loop load: ``make bench``.

Server and clients share this machine's cores, so the figures are a floor. Every row has a service
that is warm; the rows differ in whether the candidate pools take part. ``dialog-service bench``
measures a service that is there already.
"""

import asyncio
import functools
import os
import platform
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from dialog_service.client import AsyncDialogClient
from dialog_service.load.figures import Figures
from dialog_service.load.generator import Load, generate_load
from dialog_service.load.workload import Kind, Workload
from dialog_service.local_service import local_service
from dialog_service.v1 import dialog_pb2 as pb

FLAGS = ("--metrics-address", "off", "--redis-url", "embedded", "--log-level", "warning")
MODES = {
    "generated": pb.CACHE_MODE_BYPASS,
    "from the pools": pb.CACHE_MODE_DEFAULT,
}


def measure(address: str, load: Load) -> dict[str, Any]:
    """The report of a load, in which every request must have been answered."""
    figures = Figures()
    connect = functools.partial(AsyncDialogClient, address, is_plain=True)
    asyncio.run(generate_load(connect, load, figures.add))
    if figures.error_share:
        raise SystemExit(f"requests failed: {dict(figures.statuses)}")
    return figures.report(load.seconds)


def row(name: str, load: Load, report: dict[str, Any]) -> tuple[str, ...]:
    """One line of the table."""
    latency = report["latency_seconds"]["all"]
    rates = (f"{report[f'{what}_per_second']:.1f}" for what in ("requests", "replies"))
    milliseconds = (f"{1000 * latency[name]:.0f}" for name in ("p50", "p99"))
    return (name, str(load.clients), *rates, *milliseconds)


def main(
    clients: Annotated[
        list[int] | None, typer.Option(min=1, help="1, 8 and 32 if not said.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.1, max=600, help="For each row.")] = 5.0,
    replies: Annotated[int, typer.Option(min=1, max=32, help="Per request.")] = 5,
) -> None:
    """Measure fresh replies and replies from the pools; DIALOG_* settings apply."""
    table = Table("replies", "clients", "requests/s", "replies/s", "p50 ms", "p99 ms", box=None)
    with local_service(*FLAGS) as address:
        for name, cache_mode in MODES.items():
            workload = Workload(
                mix={Kind.UNARY: 1}, repeated_share=1, reply_count=replies, cache_mode=cache_mode
            )
            for count in clients or (1, 8, 32):
                load = Load(workload=workload, clients=count, seconds=seconds)
                table.add_row(*row(name, load, measure(address, load)))
    console = Console()
    console.print(f"{platform.machine()}, {os.cpu_count()} cores, {replies} replies a request")
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
