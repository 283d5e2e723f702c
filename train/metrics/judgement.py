"""How well replies fit their context, in figures that add up over contexts.

Knows nothing of who judges, and needs no torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from train.metrics.counting import Column, Counts

CANDIDATES = 100  # the reply and 99 random ones


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """Of the replies to one context; each figure's mean over contexts is a row's figure.

    ``relevance``, ``rank`` and ``reciprocal_rank`` are of the first reply, ``relevance_all`` is
    the mean over all. The rank is 1 to 100, halves where random replies tie.
    """

    relevance: float
    relevance_all: float
    rank: float
    reciprocal_rank: float


class Judge(Protocol):
    """Whoever tells how well replies fit."""

    def judge(
        self, contexts: Sequence[tuple[str, ...]], replies: Sequence[Sequence[str]]
    ) -> list[Judgement]:
        """A judgement for each context and its replies, at least one each, in order."""


def with_judgement(counts: Counts, judgement: Judgement) -> Counts:
    """One context's counts with what a judge says of its replies."""
    vector = list(counts.vector)
    vector[Column.JUDGED] = 1.0
    vector[Column.RELEVANCE] = judgement.relevance
    vector[Column.RELEVANCE_ALL] = judgement.relevance_all
    vector[Column.RANK] = judgement.rank
    vector[Column.RECIPROCAL_RANK] = judgement.reciprocal_rank
    return replace(counts, vector=vector)
