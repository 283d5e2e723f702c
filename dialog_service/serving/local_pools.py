"""Pools in this process, under the same rules as those in Redis, for while Redis is away.

The least recently used pool makes room for a new one. One event loop only.
"""

import random
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from dialog_service.generation import Candidate
from dialog_service.serving.pools import (
    NOTHING,
    CacheStatus,
    Draw,
    Origin,
    PoolKey,
    PoolSettings,
    Served,
)


@dataclass(slots=True)
class _Pool:
    """Candidates by text, and how often each has been served."""

    ends_at: float
    is_complete: bool = False
    candidates: dict[str, Candidate] = field(default_factory=dict)
    times_served: dict[str, int] = field(default_factory=dict)

    def serve(self, count: int, settings: PoolSettings) -> Served:
        """A random choice, less those candidates that left because it was their last time."""
        before = len(self.candidates)
        limit = settings.limit(before, is_complete=self.is_complete)
        texts = random.sample(list(self.candidates), min(count, limit))
        return Served(
            candidates=tuple(self._serve_one(text, settings.retire_after) for text in texts),
            size_before=before,
            size_after=len(self.candidates),
            is_complete=self.is_complete,
        )

    def _serve_one(self, text: str, retire_after: int) -> Candidate:
        """The candidate, counted as served."""
        candidate = self.candidates[text]
        self.times_served[text] += 1
        if self.times_served[text] >= retire_after and not self.is_complete:
            del self.candidates[text], self.times_served[text]
        return candidate


class LocalPools:
    """``draw`` and ``add`` as those of ``CandidatePools``; every draw is DEGRADED."""

    def __init__(
        self,
        settings: PoolSettings,
        *,
        pool_limit: int = 1024,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Empty; holds ``pool_limit`` pools at most."""
        self._settings = settings
        self._pool_limit = pool_limit
        self._clock = clock
        self._pools: OrderedDict[PoolKey, _Pool] = OrderedDict()

    def clear(self) -> None:
        """Forget every pool."""
        self._pools.clear()

    def draw(self, key: PoolKey, count: int) -> Draw:
        """``count`` different candidates, or fewer, drawn with fresh randomness."""
        pool = self._find(key)
        served = pool.serve(count, self._settings) if pool else NOTHING
        draw = served.answer(count, capacity=self._settings.capacity)
        return replace(draw, status=CacheStatus.DEGRADED)

    def add(
        self,
        key: PoolKey,
        candidates: Sequence[Candidate],
        origin: Origin,
        *,
        is_complete: bool = False,
    ) -> None:
        """Put candidates in a pool: known texts and those beyond the capacity are left out."""
        if origin is Origin.REFRESH:
            self._pools.pop(key, None)
        pool = self._find(key) or _Pool(self._clock() + self._settings.ttl_seconds)
        for candidate in candidates:
            if len(pool.candidates) < self._settings.capacity:
                pool.candidates.setdefault(candidate.text, candidate)
                pool.times_served.setdefault(candidate.text, int(origin is not Origin.GROWTH))
        pool.is_complete |= is_complete
        if pool.candidates:
            self._pools[key] = pool
            self._pools.move_to_end(key)
        while len(self._pools) > self._pool_limit:
            self._pools.popitem(last=False)

    def texts(self, key: PoolKey) -> frozenset[str]:
        """Texts in a pool."""
        pool = self._find(key)
        return frozenset(pool.candidates) if pool else frozenset()

    def _find(self, key: PoolKey) -> _Pool | None:
        """The pool, if there is one that has not ended; it is then the latest used."""
        pool = self._pools.get(key)
        if pool is None:
            return None
        if self._clock() >= pool.ends_at or not pool.candidates:
            del self._pools[key]
            return None
        self._pools.move_to_end(key)
        return pool
