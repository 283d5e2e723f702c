"""Dist-1 and Dist-2 of the latest replies, of this replica and of the fleet.

Windows hold a number of tokens, not of minutes: Dist-n falls as text grows, so a window of time
would measure traffic. This replica counts exactly. For the fleet all replicas add their n-grams to
the same HyperLogLogs in Redis (0.81% standard error) and their totals to plain counters, because
the mean of replicas' ratios is no ratio of the fleet. Knows no metrics library.
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol


class Source(enum.StrEnum):
    """Where a reply came from."""

    FRESH = "fresh"
    CACHE = "cache"


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowFigure:
    """One Dist-n; alerts look at full windows only."""

    model: str
    n: int
    scope: Literal["replica", "fleet"]
    source: Source
    distinct_ratio: float
    window_tokens: int  # tokens (unigrams, whatever n) the figure is about
    is_full: bool  # holds the number of tokens the window was asked to hold


class DiversityObserver(Protocol):
    """Told of failures; must neither block nor raise."""

    def on_error(self, op: str) -> None:
        """A Redis command failed: "diversity_publish" or "diversity_read"."""


class LiveDiversity:
    """Recorder of served replies and reader of the windows; Redis is never on a request's path."""

    lost_tokens: int  # recorded, but missing from the fleet's window because Redis failed

    def __init__(
        self,
        url: str | None,
        *,
        window_tokens: int,
        observer: DiversityObserver,
        interval_seconds: float = 1.0,
    ) -> None:
        """Connects to nothing yet; ``url`` None gives figures of this replica alone."""
        raise NotImplementedError

    async def start(self) -> None:
        """Publish and read the fleet's figures every ``interval_seconds`` until ``close``."""
        raise NotImplementedError

    async def close(self) -> None:
        """Publish what is left and disconnect; may be called twice."""
        raise NotImplementedError

    def record(self, model: str, source: Source, replies: Sequence[Sequence[str]]) -> None:
        """Count replies that were served, each given as its ``diversity.metric_tokens``."""
        raise NotImplementedError

    async def refresh(self) -> None:
        """Publish what was recorded and read the fleet's figures, now. Never raises over Redis."""
        raise NotImplementedError

    def snapshot(self) -> tuple[WindowFigure, ...]:
        """Every figure: the replica's as of now, the fleet's as of the last good reading."""
        raise NotImplementedError
