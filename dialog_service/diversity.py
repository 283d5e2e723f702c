"""N-gram counting and Dist-n: the one copy for live figures and offline evaluation. No I/O.

Dist-n (Li et al. 2016) is the number of distinct n-grams over the number of n-grams, counted within
replies and never across two of them. Knows neither models nor windows.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from dialog_service.text import normalised_words

Ngram = tuple[str, ...]


def metric_tokens(text: str) -> list[str]:
    """Lower-case words and punctuation marks of a reply, whatever the model's own vocabulary."""
    return normalised_words(text)


def ngrams(tokens: Sequence[str], n: int) -> list[Ngram]:
    """The ``max(0, len(tokens) - n + 1)`` n-grams of one reply, in order."""
    return list(_ngrams(tokens, n))


def _ngrams(tokens: Sequence[str], n: int) -> Iterator[Ngram]:
    return zip(*[tokens[start:] for start in range(n)], strict=False)


class NgramCounts:
    """How often each n-gram occurs in some replies; counts of two sets of replies add up."""

    def __init__(self, n: int, replies: Iterable[Sequence[str]] = ()) -> None:
        """Count the n-grams of ``replies``, each the metric tokens of one reply."""
        self.n = n
        self.counts: Counter[Ngram] = Counter()
        self.add(replies)

    def add(self, replies: Iterable[Sequence[str]]) -> None:
        """Count more replies: many at once in a fraction of the time that they take one by one."""
        each = (_ngrams(tokens, self.n) for tokens in replies)
        self.counts.update(chain.from_iterable(each))

    def remove(self, replies: Iterable[Sequence[str]]) -> None:
        """Take back replies that were counted before."""
        for ngram, count in NgramCounts(self.n, replies).counts.items():
            left = self.counts[ngram] - count
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
    distinct: set[Ngram] = set()
    total = 0
    for tokens in replies:
        distinct.update(_ngrams(tokens, n))
        total += max(0, len(tokens) - n + 1)
    return len(distinct) / total if total else 0.0


def entropy_nats(replies: Iterable[Sequence[str]]) -> float:
    """Unigram entropy of replies, each given as its metric tokens, in nats."""
    return NgramCounts(1, replies).entropy_nats
