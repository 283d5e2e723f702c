"""Pools of candidates in Redis, shared by all replicas. Every failure is a miss, never an error.

Values are serialised protobuf. Nobody waits for Redis longer than 20 ms, and nothing is tried
twice; after a few failures in a row Redis is left alone, but for a heartbeat that finds out when it
is back, and meanwhile pools in this process answer (``DEGRADED``). Knows neither grpc nor metrics.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Sequence
from typing import Any, Protocol, TypeVar

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, ResponseError

from dialog_service.errors import ConfigError
from dialog_service.generation import Candidate
from dialog_service.serving.circuit_breaker import CircuitBreaker
from dialog_service.serving.local_pools import LocalPools
from dialog_service.serving.pool_codec import UnreadableCandidate, candidate_id, decode, encode
from dialog_service.serving.pool_scripts import ADD, DRAW
from dialog_service.serving.pools import (
    NOTHING,
    CacheStatus,
    Draw,
    Origin,
    PoolKey,
    PoolSettings,
    Served,
)

T = TypeVar("T")
_LOG = logging.getLogger(__name__)
_MAX_CONNECTIONS = 16
_CONNECT_SECONDS = 1.0
_HEARTBEAT_SECONDS = 0.5
_TURNS = 10


class CacheObserver(Protocol):
    """Told what happens; must neither block nor raise."""

    def on_error(self, op: str) -> None:
        """One command failed: "draw", "add", "texts" or "ping"."""

    def on_redis_up(self, is_up: bool) -> None:
        """Redis was found to be there, or gone; said at the start and at each change."""


def connect(url: str, *, timeout_seconds: float) -> Redis:
    """A client that tries nothing twice and waits ``timeout_seconds`` for each answer.

    Raises:
        ConfigError: no Redis URL. It may hold a password, so it is not repeated.
    """
    try:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=_MAX_CONNECTIONS,
            timeout=timeout_seconds,
            socket_timeout=timeout_seconds,
            socket_connect_timeout=_CONNECT_SECONDS,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )
    except ValueError:  # which may repeat a part of the password
        raise ConfigError(
            "redis_url: must begin with redis://, rediss:// or unix://, have a number for a port, "
            "and / @ : # ? % of a password percent-encoded"
        ) from None
    return Redis.from_pool(pool)


class RedisLine:
    """Commands to Redis that give an answer or None, soon, and never raise on account of Redis.

    Each command is a task of its own that nobody cancels: one that is broken off half-way can leave
    its answer on the connection for whoever uses it next (redis-py #2624, #2665).
    """

    def __init__(self, url: str, *, timeout_seconds: float, observer: CacheObserver) -> None:
        """Connects to nothing yet; callers wait for ``timeout_seconds`` at most."""
        # The command itself goes on for a while after its caller has given up: an answer that comes
        # late then leaves a usable connection behind, and no new one must be made.
        self.client = connect(url, timeout_seconds=10 * timeout_seconds)
        self._timeout_seconds = timeout_seconds
        self._observer = observer
        self._breaker = CircuitBreaker(self._on_change)
        self._trouble = ""  # the latest
        self._refused: set[str] = set()  # what Redis would not do when it was last asked
        self._under_way: set[asyncio.Future[Any]] = set()
        self._heartbeat: asyncio.Task[None] | None = None

    @property
    def is_down(self) -> bool:
        """Whether Redis is to be left alone."""
        return self._breaker.is_open

    async def start(self) -> None:
        """Send a ping, and another one twice a second until ``close``."""
        await self._ping()
        self._heartbeat = asyncio.create_task(self._beat())

    async def close(self) -> None:
        """Disconnect, after what is under way; may be called twice."""
        if self._heartbeat is not None:
            self._heartbeat.cancel()
            await asyncio.wait({self._heartbeat})
        while self._under_way:
            await asyncio.wait(set(self._under_way))
        await self.client.aclose()

    async def send(self, op: str, command: Awaitable[T]) -> T | None:
        """The command's answer, or None where it failed or was not there in time."""
        task = asyncio.ensure_future(command)
        self._under_way.add(task)
        task.add_done_callback(self._settle)
        await self._wait(task)
        return self._outcome(op, task)

    async def _wait(self, task: asyncio.Future[Any]) -> None:
        """Wait for the time-out as it is for a loop that keeps up, in so many turns of the loop.

        Where the loop is late, because decoding holds the interpreter, an answer may lie there
        unread: that is no failure of Redis, and the turns then take longer than their time.
        """
        for _ in range(_TURNS):
            if not task.done():
                await asyncio.wait({task}, timeout=self._timeout_seconds / _TURNS)

    def _outcome(self, op: str, task: asyncio.Future[T]) -> T | None:
        """What became of a command, told to the breaker and the observer."""
        error = task.exception() if task.done() else TimeoutError("no answer in time")
        if error is None:
            self._breaker.succeed()
            self._refused.discard(op)
            return task.result()
        self._observer.on_error(op)
        _LOG.debug("redis %s: %r", op, error)
        self._trouble = f"{type(error).__name__}: {error}"
        if isinstance(error, ResponseError):  # which is an answer, if not a welcome one
            self._complain(op)
        else:
            self._breaker.fail()
        return None

    def _complain(self, op: str) -> None:
        """Once, until it is done: of a missing permission, or a replica, nothing else tells."""
        if op not in self._refused:
            self._refused.add(op)
            told = {"op": op, "why": self._trouble}
            _LOG.warning("redis is there, but refuses what pools need", extra=told)

    def _settle(self, task: asyncio.Future[Any]) -> None:
        """Forget a command, and note its error even if nobody waits any more."""
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()

    async def _beat(self) -> None:
        """Ping for ever: this is how an open breaker learns that Redis is back."""
        while True:
            await asyncio.sleep(_HEARTBEAT_SECONDS)
            await self._ping()

    async def _ping(self) -> None:
        await self.send("ping", self.client.ping())

    def _on_change(self, is_up: bool) -> None:
        """Say that Redis has gone or come."""
        if is_up:
            _LOG.info("redis is there")
        else:
            told = {"why": self._trouble}
            _LOG.warning(
                "redis is away; every replica keeps its own pools until it is back", extra=told
            )
        self._observer.on_redis_up(is_up)


class CandidatePools:
    """The cache. No method raises on account of Redis.

    For each unseeded request: ``draw``, generate what is ``missing`` (excluding the texts drawn),
    ``add`` that with ``Origin.ANSWER``, and in idle time generate ``wanted_growth`` more (excluding
    ``texts``) and ``add`` them with ``Origin.GROWTH``. Seeded requests and CACHE_MODE_BYPASS do
    none of this; CACHE_MODE_REFRESH generates without a draw and adds with ``Origin.REFRESH``.
    ``add`` may run after the answer is sent.
    """

    def __init__(self, url: str | None, settings: PoolSettings, observer: CacheObserver) -> None:
        """Connects to nothing yet; ``url`` None keeps pools in this process alone (DEGRADED)."""
        self._settings = settings
        self._observer = observer
        self._local = LocalPools(settings)
        self._line: RedisLine | None = None
        if url is not None:
            timeout = settings.timeout_seconds
            self._line = RedisLine(url, timeout_seconds=timeout, observer=observer)
            self._draw_sha = self._line.client.register_script(DRAW).sha
            self._add_script = self._line.client.register_script(ADD)

    async def start(self) -> None:
        """Find out whether Redis is there, and keep finding out until ``close``."""
        if self._line is None:
            self._observer.on_redis_up(False)
        else:
            await self._line.start()

    async def close(self) -> None:
        """Stop and disconnect, after what is under way; may be called twice."""
        if self._line is not None:
            await self._line.close()

    async def draw(self, key: PoolKey, count: int) -> Draw:
        """``count`` different candidates, or fewer, drawn with fresh randomness."""
        if (line := self._usable_line()) is not None:
            return await self._draw_from_redis(line, key, count)
        return self._local.draw(key, count)

    async def add(
        self,
        key: PoolKey,
        candidates: Sequence[Candidate],
        origin: Origin,
        *,
        is_complete: bool = False,
    ) -> None:
        """Put candidates in a pool: known texts and those beyond the capacity are left out.

        Args:
            key: the pool; made where there is none.
            candidates: what was generated, in order of preference; may be empty.
            origin: why they were generated.
            is_complete: the model has nothing else to say here (a greedy request, or a growth that
                found nothing new): until its TTL the pool is served as it is, however small, and
                its candidates no longer retire.
        """
        if (line := self._usable_line()) is None:
            self._local.add(key, candidates, origin, is_complete=is_complete)
            return
        ttl_seconds = self._settings.ttl_seconds * random.uniform(0.9, 1.1)
        rules = (
            self._settings.capacity,
            int(1000 * ttl_seconds),
            int(origin is not Origin.GROWTH),
            int(is_complete),
            int(origin is Origin.REFRESH),
        )
        pairs = (part for one in candidates for part in (candidate_id(one), encode(one)))
        await line.send("add", self._add_script(key.both, (*rules, *pairs)))

    async def texts(self, key: PoolKey) -> frozenset[str]:
        """Texts in a pool, to be excluded from a growth; empty where that cannot be found out."""
        if (line := self._usable_line()) is None:
            return self._local.texts(key)
        values: Sequence[Any] | None = await line.send("texts", line.client.hvals(key.candidates))
        try:
            return frozenset(decode(value).text for value in values or ())
        except (UnreadableCandidate, TypeError):
            return frozenset()  # the next draw does something about it

    def _usable_line(self) -> RedisLine | None:
        """Redis, unless there is none or it is away."""
        if self._line is None or self._line.is_down:
            return None
        self._local.clear()  # what is left of a time without Redis
        return self._line

    async def _draw_from_redis(self, line: RedisLine, key: PoolKey, count: int) -> Draw:
        """What Redis hands out; a pool with anything unreadable in it is thrown away.

        Where Redis gives nothing, whether or not that opens the breaker, the draw is DEGRADED.
        """
        rules = self._settings
        seed = random.getrandbits(31)
        args = (*key.both, count, rules.retire_after, seed, rules.capacity, rules.share)
        answer = await line.send("draw", self._drawn(line.client, args))
        if answer is None:
            return Draw(missing=count, status=CacheStatus.DEGRADED)
        try:
            served = _served(key, answer)
        except UnreadableCandidate:
            self._observer.on_error("draw")
            await line.send("draw", line.client.delete(*key.both))
            served = NOTHING
        except (TypeError, ValueError):  # whatever answers there is no Redis
            self._observer.on_error("draw")
            return Draw(missing=count, status=CacheStatus.DEGRADED)
        return served.answer(count, capacity=rules.capacity)

    async def _drawn(self, client: Redis, args: Sequence[str | int]) -> Any:
        """The answer of ``DRAW``, which is loaded where Redis does not have it.

        As redis-py's script objects do, in three quarters of their time.
        """
        try:
            return await client.evalsha(self._draw_sha, 2, *args)
        except NoScriptError:
            await client.script_load(DRAW)
            return await client.evalsha(self._draw_sha, 2, *args)


def _served(key: PoolKey, answer: Any) -> Served:
    """What the answer of ``DRAW`` says.

    Raises:
        UnreadableCandidate: there is one in it.
        TypeError, ValueError: it is no answer to a draw from this pool.
    """
    name, before, after, is_complete, *values = answer
    if name != key.candidates.encode():
        raise ValueError("an answer to something else")
    return Served(
        candidates=tuple(decode(value) for value in values),
        size_before=int(before),
        size_after=int(after),
        is_complete=bool(is_complete),
    )
