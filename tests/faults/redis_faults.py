"""What can befall a Redis, and how it is put right again."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from redis_process import RedisProcess
from redis_proxy import RedisProxy


@dataclass(frozen=True)
class Redis:
    """A real server and the way to it."""

    server: RedisProcess
    proxy: RedisProxy


@contextlib.contextmanager
def running_redis() -> Iterator[Redis]:
    with tempfile.TemporaryDirectory(prefix="redis-") as directory:  # short: it holds a socket
        server = RedisProcess(Path(directory))
        server.start()
        proxy = RedisProxy(server.socket)
        try:
            yield Redis(server, proxy)
        finally:
            proxy.close()
            server.kill()


Fault = Callable[[Redis], contextlib.AbstractContextManager[None]]


@contextlib.contextmanager
def killed(redis: Redis) -> Iterator[None]:
    redis.server.kill()
    yield
    redis.server.start()


@contextlib.contextmanager
def paused(redis: Redis) -> Iterator[None]:
    redis.server.pause()
    yield
    redis.server.resume()


@contextlib.contextmanager
def slow(redis: Redis) -> Iterator[None]:
    redis.proxy.say("slow 0.3")
    yield
    redis.proxy.say("pass")


@contextlib.contextmanager
def garbage(redis: Redis) -> Iterator[None]:
    redis.proxy.say("garbage")
    yield
    redis.proxy.say("pass")


@contextlib.contextmanager
def full(redis: Redis) -> Iterator[None]:
    with redis.server.client as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", "1")
        yield
        client.config_set("maxmemory", "0")


@contextlib.contextmanager
def restarted_empty(redis: Redis) -> Iterator[None]:
    redis.server.kill()
    redis.server.start()
    yield


FAULTS: dict[str, Fault] = {
    each.__name__: each for each in (killed, paused, slow, full, garbage, restarted_empty)
}
