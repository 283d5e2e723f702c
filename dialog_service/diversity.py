"""N-gram counting and Dist-n: the one copy for live figures and offline evaluation. No I/O.

Dist-n (Li et al. 2016) is the number of distinct n-grams over the number of n-grams, counted within
replies and never across two of them. Knows neither models nor windows.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from dialog_service.text import normalise

Ngram = tuple[str, ...]


def metric_tokens(text: str) -> list[str]:
    """Lower-case words and punctuation marks of a reply, whatever the model's own vocabulary."""
    return normalise(text).split()


def ngrams(tokens: Sequence[str], n: int) -> list[Ngram]:
    """The ``max(0, len(tokens) - n + 1)`` n-grams of one reply, in order."""
    return list(zip(*(tokens[start:] for start in range(n)), strict=False))


class NgramCounts:
    """How often each n-gram occurs in some replies; counts of two sets of replies add up."""

    def __init__(self, n: int, replies: Iterable[Sequence[str]] = ()) -> None:
        """Count the n-grams of ``replies``, each the metric tokens of one reply."""
        self.n = n
        self.counts: Counter[Ngram] = Counter()
        for tokens in replies:
            self.add(tokens)

    def add(self, tokens: Sequence[str]) -> None:
        """Count one more reply."""
        self.counts.update(ngrams(tokens, self.n))

    def remove(self, tokens: Sequence[str]) -> None:
        """Take back a reply that was counted before."""
        for ngram in ngrams(tokens, self.n):
            left = self.counts[ngram] - 1
            if left:
                self.counts[ngram] = left
            else:
                del self.counts[ngram]

    def __iadd__(self, other: "NgramCounts") -> "NgramCounts":
        """Count the replies of ``other`` too; raises ValueError where its n differs."""
        if other.n != self.n:
            raise ValueError(f"cannot add counts of {other.n}-grams to counts of {self.n}-grams")
        self.counts.update(other.counts)
        return self

    @property
    def distinct(self) -> int:
        """Different n-grams."""
        return len(self.counts)

    @property
    def total(self) -> int:
        """All n-grams."""
        return self.counts.total()

    @property
    def distinct_ratio(self) -> float:
        """Dist-n, between 0 and 1; 0 where there is no n-gram."""
        return self.distinct / self.total if self.counts else 0.0

    @property
    def entropy_nats(self) -> float:
        """Entropy of the n-grams' relative frequencies, in nats; 0 where there is none."""
        total = self.total
        return -math.fsum(c / total * math.log(c / total) for c in self.counts.values()) + 0.0


def distinct_ratio(replies: Iterable[Sequence[str]], n: int) -> float:
    """Dist-n of replies, each given as its metric tokens; 0 where they hold no n-gram."""
    found = [ngram for tokens in replies for ngram in ngrams(tokens, n)]
    return len(set(found)) / len(found) if found else 0.0


def entropy_nats(replies: Iterable[Sequence[str]]) -> float:
    """Unigram entropy of replies, each given as its metric tokens, in nats."""
    return NgramCounts(1, replies).entropy_nats
