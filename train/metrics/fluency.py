"""How well replies are put into words, in figures that add up over contexts.

Knows nothing of who tells, and needs no numpy.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Protocol

from pydantic import Field

from train.metrics.counting import Column, Counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Fluency:
    """What a language model finds of the replies to one context, at least one, in order.

    ``nats`` is -ln p of each whole reply, its end included; ``tokens`` the words of each and one
    for its end. Bounds are checked where one is read from a file.
    """

    nats: Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(min_length=1)]
    tokens: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)]

    def of_first(self, count: int) -> "Fluency":
        """The same of no more than so many replies."""
        return replace(self, nats=self.nats[:count], tokens=self.tokens[:count])


class LanguageModel(Protocol):
    """Whoever tells how likely a text is, whatever it answers."""

    @property
    def fingerprint(self) -> str:
        """The same for models that say the same of every reply."""

    def fluency(self, replies: Sequence[Sequence[str]]) -> list[Fluency]:
        """Of the replies to each context, at least one each, in order."""


def with_fluency(counts: Counts, fluency: Fluency) -> Counts:
    """One context's counts with what a language model finds of its replies."""
    vector = list(counts.vector)
    vector[Column.LM_TOKENS] = fluency.tokens[0]
    vector[Column.LM_NATS] = fluency.nats[0]
    vector[Column.LM_TOKENS_ALL] = sum(fluency.tokens)
    vector[Column.LM_NATS_ALL] = sum(fluency.nats)
    return replace(counts, vector=vector)
