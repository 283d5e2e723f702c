"""What a pool of candidates is, wherever it is kept: its key, its rules, and what a draw gives.

A cache of whole responses turns a sampler into a constant. So what is kept per context and sampling
parameters is a pool of candidates, from which each request draws its own. Knows no Redis.
"""

import enum
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from urllib.parse import quote

from dialog_service.generation import Candidate, SamplingParameters
from dialog_service.text import normalise


class CacheStatus(enum.StrEnum):
    """What the cache did for one request; ``BYPASS`` is the caller's to set."""

    HIT = "hit"  # every reply came from the pool
    MISS = "miss"  # some or all are to be generated
    BYPASS = "bypass"  # the pool was not asked: seeded requests, CACHE_MODE_BYPASS, no cache
    DEGRADED = "degraded"  # Redis gave no answer, or is away and this process's own pools did


class Origin(enum.Enum):
    """Why candidates are added to a pool."""

    ANSWER = enum.auto()  # generated for a request and served to it: counted as served once
    GROWTH = enum.auto()  # generated in idle time, not served yet
    REFRESH = enum.auto()  # as ANSWER, but everything that was in the pool goes


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSettings:
    """The rules of every pool."""

    capacity: int = 64  # candidates a pool grows to
    ttl_seconds: float = 3600.0  # life of a pool from its first candidate, give or take a tenth
    retire_after: int = 3  # times a candidate is served before it leaves
    timeout_seconds: float = 0.02  # longest wait for Redis
    # While a pool grows one request gets no more than 1/share of it, and the rest generated: from
    # one that holds just what was asked for, every request would get the same.
    share: int = 3

    def limit(self, size: int, *, is_complete: bool) -> int:
        """How many candidates one request may draw from a pool of so many."""
        return size if is_complete or size >= self.capacity else size // self.share


@dataclass(frozen=True, slots=True)
class PoolKey:
    """Which pool: everything that decides a reply, save the number of replies and the seed.

    The braces make Redis Cluster keep both keys of a pool in one slot.
    """

    prefix: str

    @classmethod
    def of(
        cls, model_version: str, turns: Sequence[str], sampling: SamplingParameters
    ) -> "PoolKey":
        """The key of a request.

        Args:
            model_version: tells any two sets of weights apart, not only their names.
            turns: raw texts, oldest first.
            sampling: complete, with every default filled in; the order of its stops is no matter.
        """
        context = "\n".join(normalise(turn) for turn in turns)  # normalised text has no newline
        digests = f"{_sha256(context)}:{_sampling_digest(sampling)}"
        return cls(f"dlg:v1:{{{quote(model_version, safe='/')}:{digests}}}")

    @property
    def candidates(self) -> str:
        """Redis key of the candidates."""
        return self.prefix

    @property
    def both(self) -> tuple[str, str]:
        """Redis keys of the candidates and of how often each has been served."""
        return self.prefix, f"{self.prefix}:served"


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """What a pool gave one request: different candidates in random order, counted as served."""

    candidates: tuple[Candidate, ...] = ()
    missing: int  # replies that are to be generated and then added with Origin.ANSWER
    status: CacheStatus
    pool_size: int = 0  # candidates in the pool when it was drawn from
    wanted_growth: int = 0  # candidates to generate in idle time and add with Origin.GROWTH


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What a pool handed out, whatever was asked of it, and how it was left."""

    candidates: tuple[Candidate, ...]
    size_before: int
    size_after: int
    is_complete: bool

    def answer(self, count: int, *, capacity: int) -> Draw:
        """The draw for a request of ``count`` replies; only a pool that has been there grows."""
        missing = 0 if self.is_complete else count - len(self.candidates)
        room = 0 if self.is_complete else capacity - self.size_after - missing
        return Draw(
            candidates=self.candidates,
            missing=missing,
            status=CacheStatus.MISS if missing else CacheStatus.HIT,
            pool_size=self.size_before,
            wanted_growth=max(0, room) if self.size_before else 0,
        )


NOTHING = Served(candidates=(), size_before=0, size_after=0, is_complete=False)


@lru_cache(maxsize=256)  # nearly everybody asks for the same
def _sampling_digest(sampling: SamplingParameters) -> str:
    """The same for all that sample alike."""
    parameters = asdict(sampling)
    stop = sorted(set(parameters.pop("stop")))
    numbers = {name: float(value) + 0.0 for name, value in parameters.items()}
    return _sha256(json.dumps({**numbers, "stop": stop}, sort_keys=True))


def _sha256(text: str) -> str:
    """Hexadecimal digest of a text."""
    return hashlib.sha256(text.encode()).hexdigest()
