"""Requests/s and latency of servers under closed-loop load, each in a process of its own."""

import asyncio
import contextlib
import functools
import itertools
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import grpc
from bare_echo import ECHO, echo_server

from dialog_service.client import AsyncDialogClient
from dialog_service.load.figures import Figures, percentiles
from dialog_service.load.generator import Load, generate_load
from dialog_service.load.workload import Kind, Workload
from dialog_service.local_service import local_service
from dialog_service.v1 import dialog_pb2 as pb

HERE = Path(__file__).parent
QUIET = ("--metrics-address", "off", "--log-level", "warning")
TIMEOUT_SECONDS = 120
MOST_PROCESSES = 64  # that the setting allows

Ask = Callable[[], Awaitable[object]]
"""Makes one call and waits for its answer; ``NothingLeft`` where there is nothing to ask."""


class NothingLeft(Exception):
    """Everything there was to ask has been asked."""


class Latencies(NamedTuple):
    """One server under one load."""

    server: str
    clients: int
    requests_per_second: float
    p50_seconds: float
    p99_seconds: float


def service(
    addresses: Sequence[str],
    clients: Sequence[int],
    seconds: float,
    *,
    label: str,
    workload: Workload,
) -> Iterator[Latencies]:
    """Our service, which listens at some addresses; clients are spread over them.

    Over several processes at one address the kernel spreads them, as each has its own connection.
    """
    for count in clients:
        yield row(label, count, *loaded(addresses, workload, clients=count, seconds=seconds))


def loaded(
    addresses: Sequence[str], workload: Workload, *, clients: int, seconds: float
) -> tuple[list[float], float]:
    """Latencies in ascending order, and how long it all took."""
    turns = itertools.cycle(addresses)
    figures = Figures()
    load = Load(
        workload=workload, clients=clients, seconds=seconds, timeout_seconds=TIMEOUT_SECONDS
    )

    def connect() -> AsyncDialogClient:
        return AsyncDialogClient(next(turns), timeout_seconds=TIMEOUT_SECONDS, is_plain=True)

    start = time.perf_counter()
    asyncio.run(generate_load(connect, load, figures.add))
    taken = time.perf_counter() - start
    if figures.error_share:
        raise SystemExit(f"requests failed: {dict(figures.statuses)}")
    return figures.latencies, taken


def generated(replies: int) -> Workload:
    """Utterances that the cache has no part in."""
    return Workload(
        mix={Kind.UNARY: 1},
        repeated_share=1,
        reply_count=replies,
        cache_mode=pb.CACHE_MODE_BYPASS,
    )


def repeated(replies: int) -> Workload:
    """Few utterances, unseeded: from their pools, as far as the model keeps up with those."""
    return Workload(mix={Kind.UNARY: 1}, repeated_share=1, reply_count=replies)


@contextlib.contextmanager
def our_service(*flags: str) -> Iterator[str]:
    """Our service, for as long as a block lasts."""
    with local_service(*QUIET, *flags) as address:
        yield address


def process_counts() -> list[int]:
    """Of a service: one, and as many as there are cores."""
    return sorted({1, min(len(os.sched_getaffinity(0)), MOST_PROCESSES)})


def named(processes: int) -> str:
    """What a service of so many is called."""
    return "service" if processes == 1 else f"service, {processes} processes"


def echo(clients: Sequence[int], seconds: float) -> Iterator[Latencies]:
    """A bare grpc.aio server that gives back what it gets, in this process."""
    for count in clients:
        yield row("bare grpc.aio echo", count, *asyncio.run(_echoed(count, seconds)))


async def _echoed(clients: int, seconds: float) -> tuple[list[float], float]:
    server, port = await echo_server()
    try:
        return await closed_loop(_echo_client(f"127.0.0.1:{port}"), clients, seconds)
    finally:
        await server.stop(None)


def echo_apart(clients: Sequence[int], seconds: float) -> Iterator[Latencies]:
    """The same in a process of its own, as the service is."""
    command = (sys.executable, str(HERE / "bare_echo.py"))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            connect = _echo_client(f"127.0.0.1:{int(process.stdout.readline())}")
            for count in clients:
                found = asyncio.run(closed_loop(connect, count, seconds))
                yield row("bare grpc.aio echo, apart", count, *found)
        finally:
            process.kill()


def _echo_client(address: str) -> Callable[[], Ask]:
    payload = pb.GenerateRepliesRequest(turns=[pb.Turn(text="How are you?")]).SerializeToString()
    return lambda: functools.partial(bytes_call(address, ECHO), payload)


def bytes_call(address: str, method: str) -> grpc.aio.UnaryUnaryMultiCallable:
    """A method that takes and gives bytes, over a connection of its own."""
    options = (("grpc.use_local_subchannel_pool", 1),)
    return grpc.aio.insecure_channel(address, options).unary_unary(method)


async def closed_loop(
    connect: Callable[[], Ask], clients: int, seconds: float
) -> tuple[list[float], float]:
    """Latencies in ascending order, and how long it all took.

    Each client asks again when it has been answered, until the time is up or nothing is left.
    """
    asks = [connect() for _ in range(clients)]
    await asks[0]()
    latencies: list[float] = []
    start = time.perf_counter()

    async def one(ask: Ask) -> None:
        with contextlib.suppress(NothingLeft):
            while (sent := time.perf_counter()) < start + seconds:
                await ask()
                latencies.append(time.perf_counter() - sent)

    await asyncio.gather(*map(one, asks))
    return sorted(latencies), time.perf_counter() - start


def row(server: str, clients: int, latencies: Sequence[float], taken: float) -> Latencies:
    """The figures of one load."""
    found = percentiles(latencies)
    return Latencies(
        server, clients, len(latencies) / taken, statistics.median(latencies), found["p99"]
    )
