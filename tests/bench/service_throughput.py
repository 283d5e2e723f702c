"""Requests per second and latency of a real service under closed-loop load: ``make bench``.

Each client asks, waits for the answer, and asks again. Server and clients share this machine's
cores, so the figures are a floor. Every row has a service that is warm; the rows differ in whether
the candidate pools take part.
"""

import asyncio
import os
import platform
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from dialog_service.client import AsyncDialogClient
from dialog_service.local_service import local_service
from dialog_service.v1 import dialog_pb2 as pb

FLAGS = ("--metrics-address", "off", "--redis-url", "embedded", "--log-level", "warning")
OPENINGS = ("How was", "Tell me about", "What do you think of", "I am worried about", "Guess what:")
TOPICS = ("your weekend", "the new teacher", "dinner tonight", "my job interview", "the weather")
MODES = {
    "generated": pb.CACHE_MODE_BYPASS,
    "from the pools": pb.CACHE_MODE_DEFAULT,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is asked of the service."""

    clients: int
    seconds: float
    replies: int
    cache_mode: pb.CacheMode


def utterances(seed: int) -> Iterator[str]:
    """An endless, repeatable stream of a few dozen utterances."""
    choose = random.Random(seed).choice
    while True:
        yield f"{choose(OPENINGS)} {choose(TOPICS)}?"


async def ask_until(client: AsyncDialogClient, load: Load, seed: int, end: float) -> list[float]:
    """Seconds that each of one client's requests took."""
    latencies = []
    for text in utterances(seed):
        request = pb.GenerateRepliesRequest(
            turns=[pb.Turn(text=text)], reply_count=load.replies, cache_mode=load.cache_mode
        )
        start = time.perf_counter()
        if start >= end:
            break
        await client.generate_replies(request)
        latencies.append(time.perf_counter() - start)
    return latencies


async def measure(address: str, load: Load) -> list[float]:
    """Latencies of every request, in ascending order."""
    async with AsyncDialogClient(address) as client:
        end = time.perf_counter() + load.seconds
        tasks = [ask_until(client, load, seed, end) for seed in range(load.clients)]
        return sorted(latency for each in await asyncio.gather(*tasks) for latency in each)


def row(name: str, load: Load, latencies: list[float]) -> tuple[str, ...]:
    """One line of the table."""
    rate = len(latencies) / load.seconds
    p50, p99 = (1000 * latencies[int(share * (len(latencies) - 1))] for share in (0.5, 0.99))
    figures = (f"{rate:.1f}", f"{rate * load.replies:.1f}", f"{p50:.0f}", f"{p99:.0f}")
    return (name, str(load.clients), *figures)


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
            for count in clients or (1, 8, 32):
                load = Load(clients=count, seconds=seconds, replies=replies, cache_mode=cache_mode)
                table.add_row(*row(name, load, asyncio.run(measure(address, load))))
    console = Console()
    console.print(f"{platform.machine()}, {os.cpu_count()} cores, {replies} replies a request")
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
