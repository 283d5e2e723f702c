"""The plain model behind LitServe, in a process of its own, under closed-loop load."""

import asyncio
import contextlib
import functools
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
from over_the_wire import Ask, Latencies, closed_loop, row

PEER = Path(__file__).with_name("litserve_peer.py")
START_SECONDS = 120.0


def litserve(clients: Sequence[int], seconds: float, *, is_autocast: bool) -> Iterator[Latencies]:
    """The plain model behind LitServe."""
    label = f"LitServe {'bf16 autocast' if is_autocast else 'fp32'}"
    with _litserve(is_autocast) as url:
        for count in clients:
            found = asyncio.run(closed_loop(functools.partial(_client, url), count, seconds))
            yield row(label, count, *found)


def _client(url: str) -> Ask:
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
    command = [sys.executable, str(PEER), str(port)]
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
