"""What is told of a window of replies. Knows neither how they are counted nor Redis."""

import enum
from dataclasses import dataclass
from typing import Literal


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
