"""How well replies fit their context, in figures that add up over contexts.

Knows nothing of who judges, and needs no torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Protocol

from pydantic import Field

from train.metrics.counting import Column, Counts

CANDIDATES = 100  # the reply and 99 random ones


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """Of the replies to one context, at least one; means over contexts are a row's figures.

    ``probabilities`` are those of all replies, in order. ``rank`` is the first one's, 1 to 100,
    halves where random replies tie. Bounds are checked where one is read from a file.
    """

    probabilities: Annotated[tuple[float, ...], Field(min_length=1)]
    rank: Annotated[float, Field(ge=1, le=CANDIDATES)]

    @property
    def relevance(self) -> float:
        """Of the first reply."""
        return self.probabilities[0]

    @property
    def relevance_all(self) -> float:
        """The mean over all replies."""
        return sum(self.probabilities) / len(self.probabilities)

    @property
    def reciprocal_rank(self) -> float:
        """Of the first reply."""
        return 1 / self.rank

    def of_first(self, count: int) -> "Judgement":
        """The same of no more than so many replies."""
        return replace(self, probabilities=self.probabilities[:count])


class Judge(Protocol):
    """Whoever tells how well replies fit."""

    @property
    def fingerprint(self) -> str:
        """The same for judges that say the same of every reply."""

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
