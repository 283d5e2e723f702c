"""N-gram counting and Dist-n: the one copy for live figures and offline evaluation. No I/O.

Dist-n (Li et al. 2016) is the number of distinct n-grams over the number of n-grams, counted within
replies and never across two of them. Knows neither models nor windows.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from heapq import nlargest
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


def self_bleu(replies: Sequence[Sequence[str]], order: int) -> float:
    """Self-BLEU of one request's replies: each against its siblings, averaged, in 0..1.

    Zhu et al. (2018), by the sentence BLEU of evaluation (``train.metrics.overlap``), which counts
    with sacreBLEU; the tests hold the two together. One is added where an order never matches, and
    orders longer than the reply are left out.

    Args:
        replies: the metric tokens of each.
        order: the longest n-grams, 1 or more.

    Raises:
        ValueError: fewer than two replies have no siblings.
    """
    if len(replies) < 2:
        raise ValueError("self-BLEU needs at least two replies")
    matches = zip(*[_shared_with_siblings(replies, n) for n in range(1, order + 1)], strict=True)
    lengths = [len(tokens) for tokens in replies]
    scores = (
        _sentence_bleu(found, length, _closest(length, lengths[:place] + lengths[place + 1 :]))
        for place, (found, length) in enumerate(zip(matches, lengths, strict=True))
    )
    return sum(scores) / len(replies)


def _shared_with_siblings(replies: Sequence[Sequence[str]], n: int) -> list[int]:
    """Of each reply the n-grams that a sibling has, as often as the sibling that has most."""
    counts = [Counter(_ngrams(tokens, n)) for tokens in replies]
    every: defaultdict[Ngram, list[int]] = defaultdict(list)
    for each in counts:
        for ngram, count in each.items():
            every[ngram].append(count)
    # Without itself, the most that others have is no more than the second most of all.
    most = {ngram: nlargest(2, found) for ngram, found in every.items() if len(found) > 1}
    return [
        sum(min(count, most[ngram][-1]) for ngram, count in each.items() if ngram in most)
        for each in counts
    ]


def _sentence_bleu(matches: Sequence[int], length: int, reference_length: int) -> float:
    """BLEU (Papineni et al. 2002) of a sentence with so many n-grams matched of each order."""
    if not matches[0]:
        return 0.0
    totals = range(length, 0, -1)  # n-grams of order 1, 2, ...
    logs = [
        math.log(match / total if match else 1 / (total + 1))
        for match, total in zip(matches, totals, strict=False)
    ]
    return math.exp(min(0.0, 1 - reference_length / length) + math.fsum(logs) / len(logs))


def _closest(length: int, others: Sequence[int]) -> int:
    """Of equally close ones the shorter."""
    return min(others, key=lambda other: (abs(other - length), other))
