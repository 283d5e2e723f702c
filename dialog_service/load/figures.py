"""What a load was answered with, added up."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from dialog_service.load.calls import HUNG, Outcome

_PERCENTILES = (50, 90, 99)
_BOUNDS = tuple(step * 10.0**power for power in range(-3, 2) for step in (1, 2, 5))
_ANSWERED = {"OK", "DEADLINE_EXCEEDED", HUNG}  # or waited for in vain; a refusal is no answer


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a histogram; the last one has no upper bound."""

    up_to_seconds: float
    calls: int


@dataclass(slots=True)
class Figures:
    """Counts, and the latency of every call that was answered or waited for in vain."""

    calls: int = 0
    replies: int = 0
    late: int = 0
    statuses: Counter[str] = field(default_factory=Counter)  # of requests: a batch has several
    cache: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    seconds: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    lag_seconds: float = 0.0  # the longest that a call was sent after it was due

    def add(self, outcome: Outcome) -> None:
        """Count one call."""
        self.calls += 1
        self.replies += outcome.replies
        self.late += outcome.is_late
        self.statuses.update(outcome.statuses)
        self.cache.update(outcome.cache)
        self.wrong.update(outcome.wrong)
        self.lag_seconds = max(self.lag_seconds, outcome.lag_seconds)
        if set(outcome.statuses) & _ANSWERED:
            self.seconds[outcome.kind].append(outcome.seconds)

    @property
    def requests(self) -> int:
        """How many there were."""
        return self.statuses.total()

    @property
    def hung(self) -> int:
        """Requests that had not ended long after their deadline."""
        return self.statuses[HUNG]

    @property
    def error_share(self) -> float:
        """Requests that did not end with OK, of all; 0 where there were none."""
        return 1 - self.statuses["OK"] / self.requests if self.requests else 0.0

    @property
    def latencies(self) -> list[float]:
        """Of every kind, ascending; seconds."""
        return sorted(each for found in self.seconds.values() for each in found)

    def report(self, elapsed_seconds: float) -> dict[str, Any]:
        """Everything, for JSON; rates are over ``elapsed_seconds``."""
        kinds = {kind: percentiles(sorted(found)) for kind, found in sorted(self.seconds.items())}
        return {
            "seconds": elapsed_seconds,
            "calls": self.calls,
            "requests": self.requests,
            "requests_per_second": self.requests / elapsed_seconds,
            "replies_per_second": self.replies / elapsed_seconds,
            "statuses": dict(self.statuses.most_common()),
            "error_share": self.error_share,
            "cache": dict(self.cache.most_common()),
            "wrong": dict(self.wrong.most_common()),
            "late": self.late,
            "hung": self.hung,
            "longest_lag_seconds": self.lag_seconds,
            "latency_seconds": {"all": percentiles(self.latencies), **kinds},
            "histogram": [
                {"up_to_seconds": bar.up_to_seconds, "calls": bar.calls}
                for bar in histogram(self.latencies)
                if math.isfinite(bar.up_to_seconds) or bar.calls
            ],
        }


def percentiles(ascending: Sequence[float]) -> dict[str, float]:
    """p50, p90, p99 and max by nearest rank, and how many there are; only that for none."""
    found = {"count": float(len(ascending))}
    if ascending:
        for percent in _PERCENTILES:
            found[f"p{percent}"] = ascending[math.ceil(percent / 100 * len(ascending)) - 1]
        found["max"] = ascending[-1]
    return found


def histogram(ascending: Sequence[float]) -> list[Bar]:
    """Bars from the first to the last that hold anything, bounds in steps of 1, 2 and 5."""
    bounds = (*_BOUNDS, math.inf)
    counts = Counter(next(bound for bound in bounds if each <= bound) for each in ascending)
    held = [number for number, bound in enumerate(bounds) if counts[bound]]
    inside = bounds[held[0] : held[-1] + 1] if held else ()
    return [Bar(bound, counts[bound]) for bound in inside]
