"""Choosing the replies to return from more candidates than that. Knows no model and no cache.

Every strategy chooses one by one, so that the first n of its choices are its choice of n.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from dialog_service.diversity import Ngram, metric_tokens, ngrams
from dialog_service.replies import Candidate, FinishReason

# The same for every count of replies, so that a seed's first five of ten replies are its five.
DEFAULT_CANDIDATES = 32
DEFAULT_RELEVANCE_WEIGHT = 0.5


@dataclass(frozen=True, slots=True)
class NoSelection:
    """The first ones."""

    waits_for_all: ClassVar[bool] = False  # a choice is known with its candidate
    takes_relevance: ClassVar[bool] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MmrSelection:
    """Maximal marginal relevance, with likelihood for relevance where a model has no matcher.

    ``relevance_weight`` 1 looks at relevance alone, 0 at difference alone.
    """

    waits_for_all: ClassVar[bool] = True
    takes_relevance: ClassVar[bool] = True
    relevance_weight: float


Selection = NoSelection | MmrSelection


def select(
    candidates: Sequence[Candidate], count: int, selection: Selection
) -> tuple[Candidate, ...]:
    """``count`` of the candidates, or all where there are fewer, in the order they are chosen.

    This is the one place that tells strategies apart.
    """
    match selection:
        case NoSelection():
            return tuple(candidates[:count])
        case MmrSelection(relevance_weight=weight):
            texts = [candidate.text for candidate in candidates]
            chosen = mmr(texts, relevance(candidates), count=count, weight=weight)
            return tuple(candidates[index] for index in chosen)


def mmr(
    texts: Sequence[str], relevance: Sequence[float], *, count: int, weight: float
) -> list[int]:
    """Maximal marginal relevance (Carbonell and Goldstein 1998), its choices in their order.

    Again and again the text with the largest

        weight * relevance - (1 - weight) * max similarity to those chosen before,

    which is 0 for the first choice; of equal ones the first.

    Args:
        texts: the candidates.
        relevance: of each, 0 to 1.
        count: how many to choose at most.
        weight: 0 to 1.

    Returns:
        Indices of texts.
    """
    grams = [_grams(text) for text in texts]
    nearest = [0.0] * len(texts)
    left = list(range(len(texts)))
    chosen: list[int] = []
    while left and len(chosen) < count:
        best = max(
            left, key=lambda index: weight * relevance[index] - (1 - weight) * nearest[index]
        )
        left.remove(best)
        chosen.append(best)
        for index in left:
            nearest[index] = max(nearest[index], _overlap(grams[index], grams[best]))
    return chosen


def relevance(candidates: Sequence[Candidate]) -> list[float]:
    """How well each fits, 0 to 1: what the matcher says of all, or else their likelihood."""
    told = [each.relevance for each in candidates if each.relevance is not None]
    return told if len(told) == len(candidates) else [likelihood(each) for each in candidates]


def likelihood(candidate: Candidate) -> float:
    """Geometric mean of the probabilities of a reply's tokens, 0 to 1; its end is one of them."""
    tokens = candidate.token_count + (candidate.finish_reason is FinishReason.END)
    return math.exp(min(0.0, candidate.log_prob_nats / tokens))


def similarity(one: str, other: str) -> float:
    """Words and pairs of adjacent words that two replies share / those that either has, 0 to 1."""
    return _overlap(_grams(one), _grams(other))


def _grams(text: str) -> frozenset[Ngram]:
    tokens = metric_tokens(text)
    return frozenset(ngrams(tokens, 1)) | frozenset(ngrams(tokens, 2))


def _overlap(one: frozenset[Ngram], other: frozenset[Ngram]) -> float:
    """Jaccard's coefficient; 0 of two empty sets."""
    return len(one & other) / (len(one | other) or 1)
