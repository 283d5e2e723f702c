"""Pools of candidates in Redis, shared by all replicas. Every failure is a miss, never an error.

Values are serialised protobuf. Every command has 20 ms and no second try; after a few failures in a
row Redis is left alone, but for a heartbeat that finds out when it is back, and meanwhile a small
pool in this process answers (status ``DEGRADED``). Knows no grpc and no metrics library.
"""

from collections.abc import Sequence
from typing import Protocol

from dialog_service.generation import Candidate
from dialog_service.serving.pools import CacheStatus, Draw, Origin, PoolKey, PoolSettings


class CacheObserver(Protocol):
    """Told what happens; must neither block nor raise."""

    def on_result(self, status: CacheStatus) -> None:
        """A draw ended with HIT, MISS or DEGRADED."""

    def on_error(self, op: str) -> None:
        """One command failed: "draw", "add", "texts" or "ping"."""

    def on_redis_up(self, is_up: bool) -> None:
        """Redis was found to be there, or gone; said at the start and at each change."""


class CandidatePools:
    """The cache. No method raises on account of Redis, and each waits 20 ms at most.

    For each unseeded request: ``draw``, generate ``missing`` (a request of their count, excluding
    the texts drawn), ``add`` those with ``Origin.ANSWER``, and in idle time generate
    ``wanted_growth`` more (excluding ``texts``) and ``add`` them with ``Origin.GROWTH``. Seeded
    requests and CACHE_MODE_BYPASS do none of this; CACHE_MODE_REFRESH generates without a draw and
    adds with ``Origin.REFRESH``. ``add`` may run after the answer is sent.
    """

    def __init__(self, url: str | None, settings: PoolSettings, observer: CacheObserver) -> None:
        """Connects to nothing yet; ``url`` None keeps pools in this process alone (DEGRADED)."""
        raise NotImplementedError

    async def start(self) -> None:
        """Find out whether Redis is there, and keep finding out until ``close``."""
        raise NotImplementedError

    async def close(self) -> None:
        """Stop the heartbeat and disconnect, after what is under way; may be called twice."""
        raise NotImplementedError

    async def draw(self, key: PoolKey, count: int) -> Draw:
        """``count`` different candidates, or fewer, drawn with fresh randomness."""
        raise NotImplementedError

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
        raise NotImplementedError

    async def texts(self, key: PoolKey) -> frozenset[str]:
        """Texts in a pool, to be excluded from a growth; empty where Redis is away."""
        raise NotImplementedError
