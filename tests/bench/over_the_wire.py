"""Requests/s and latency of servers under closed-loop load, each in a process of its own."""

import asyncio
import contextlib
import functools
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import httpx

from dialog_service.client import AsyncDialogClient
from dialog_service.load.figures import Figures, percentiles
from dialog_service.load.generator import Load, generate_load
from dialog_service.load.workload import Kind, Workload
from dialog_service.local_service import local_service
from dialog_service.v1 import dialog_pb2 as pb

HERE = Path(__file__).parent
QUIET = ("--metrics-address", "off", "--log-level", "warning")
START_SECONDS = 120.0


class Latencies(NamedTuple):
    """One server under one load."""

    server: str
    clients: int
    requests_per_second: float
    p50_seconds: float
    p99_seconds: float


def service(
    address: str, clients: Sequence[int], seconds: float, *, label: str, workload: Workload
) -> Iterator[Latencies]:
    """Our service, which listens at an address."""
    connect = functools.partial(AsyncDialogClient, address, is_plain=True)
    for count in clients:
        figures = Figures()
        load = Load(workload=workload, clients=count, seconds=seconds, timeout_seconds=120)
        start = time.perf_counter()
        asyncio.run(generate_load(connect, load, figures.add))
        if figures.error_share:
            raise SystemExit(f"requests failed: {dict(figures.statuses)}")
        taken = time.perf_counter() - start
        yield _row(label, count, figures.latencies, taken)


def generated(replies: int) -> Workload:
    """New utterances, which the cache has no part in."""
    return Workload(
        mix={Kind.UNARY: 1},
        repeated_share=1,
        reply_count=replies,
        cache_mode=pb.CACHE_MODE_BYPASS,
    )


def pooled(replies: int) -> Workload:
    """Utterances sent before, unseeded: answered from the pools."""
    return Workload(mix={Kind.UNARY: 1}, repeated_share=1, reply_count=replies)


@contextlib.contextmanager
def our_service(*flags: str) -> Iterator[str]:
    """Our service, for as long as a block lasts."""
    with local_service(*QUIET, *flags) as address:
        yield address


def litserve(clients: Sequence[int], seconds: float, *, is_autocast: bool) -> Iterator[Latencies]:
    """The plain model behind LitServe."""
    label = f"LitServe {'bf16 autocast' if is_autocast else 'fp32'}"
    with _litserve(is_autocast) as url:
        for count in clients:
            latencies, taken = asyncio.run(_loop(functools.partial(_asked, url), count, seconds))
            yield _row(label, count, latencies, taken)


async def _asked(url: str, _: int) -> Callable[[], Coroutine[Any, Any, object]]:
    client = httpx.AsyncClient(timeout=300)

    async def ask() -> None:
        ids = [random.randint(4, 19_999) for _ in range(12)]
        (await client.post(url, json={"ids": ids})).raise_for_status()

    return ask


@contextlib.contextmanager
def _litserve(is_autocast: bool) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(HERE / "litserve_peer.py"), str(port)]
    with subprocess.Popen(
        [*command, *["--autocast"] * is_autocast], stdout=subprocess.DEVNULL, process_group=0
    ) as process:
        try:
            _wait_until_up(f"http://127.0.0.1:{port}/health", process)
            yield f"http://127.0.0.1:{port}/predict"
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # its workers outlive it otherwise


def _wait_until_up(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(url).is_success:
                return
        time.sleep(0.2)
    raise SystemExit(f"LitServe did not start within {START_SECONDS:.0f} s")


def echo(clients: Sequence[int], seconds: float) -> Iterator[Latencies]:
    """A bare grpc.aio server that gives back what it gets, in this process."""
    for count in clients:
        latencies, taken = asyncio.run(_echoed(count, seconds))
        yield _row("bare grpc.aio echo", count, latencies, taken)


async def _echoed(clients: int, seconds: float) -> tuple[list[float], float]:
    async def give_back(request: bytes, _: object) -> bytes:
        return request

    server = grpc.aio.server()
    handlers = {"Echo": grpc.unary_unary_rpc_method_handler(give_back)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    payload = pb.GenerateRepliesRequest(turns=[pb.Turn(text="How are you?")]).SerializeToString()

    async def connected(_: int) -> Callable[[], Coroutine[Any, Any, object]]:
        call = grpc.aio.insecure_channel(f"127.0.0.1:{port}").unary_unary("/bench/Echo")

        async def ask() -> None:
            await call(payload)

        return ask

    try:
        return await _loop(connected, clients, seconds)
    finally:
        await server.stop(None)


async def _loop(
    connect: Callable[[int], Coroutine[Any, Any, Callable[[], Coroutine[Any, Any, object]]]],
    clients: int,
    seconds: float,
) -> tuple[list[float], float]:
    """Latencies in ascending order, and how long it all took."""
    asks = [await connect(number) for number in range(clients)]
    await asks[0]()
    latencies: list[float] = []
    start = time.perf_counter()

    async def one(ask: Callable[[], Coroutine[Any, Any, object]]) -> None:
        while (sent := time.perf_counter()) < start + seconds:
            await ask()
            latencies.append(time.perf_counter() - sent)

    await asyncio.gather(*map(one, asks))
    return sorted(latencies), time.perf_counter() - start


def _row(server: str, clients: int, latencies: Sequence[float], taken: float) -> Latencies:
    found = percentiles(latencies)
    return Latencies(
        server, clients, len(latencies) / taken, statistics.median(latencies), found["p99"]
    )
