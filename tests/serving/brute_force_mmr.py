"""Maximal marginal relevance straight from its definition, however long it takes."""

from collections.abc import Sequence
from fractions import Fraction


def grams(words: Sequence[str]) -> set[tuple[str, ...]]:
    return {(word,) for word in words} | {(words[n], words[n + 1]) for n in range(len(words) - 1)}


def shared(one: Sequence[str], other: Sequence[str]) -> float:
    either = grams(one) | grams(other)
    both = [gram for gram in either if gram in grams(one) and gram in grams(other)]
    return float(Fraction(len(both), len(either))) if either else 0.0


def brute_force_mmr(
    words: Sequence[Sequence[str]], relevance: Sequence[float], *, count: int, weight: float
) -> list[int]:
    """Indices in the order chosen; ``words`` of each candidate."""
    chosen: list[int] = []
    for _ in range(min(count, len(words))):
        scores = {
            index: weight * relevance[index]
            - (1 - weight) * max((shared(words[index], words[c]) for c in chosen), default=0.0)
            for index in range(len(words))
            if index not in chosen
        }
        best = max(scores.values())
        chosen.append(min(index for index, score in scores.items() if score == best))
    return chosen
