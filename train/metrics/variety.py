"""Dist-n and unigram entropy over all replies of a test set, with their jackknife intervals.

The figures are those of ``dialog_service.diversity``; what is kept beside them tells what each
would be without one group of dialogues. Memory grows with the number of different n-grams, not of
replies: words are counted per group, an n-gram remembers the one group that has it.
"""

import math
from collections import Counter
from collections.abc import Sequence

from dialog_service.diversity import Ngram, NgramCounts, ngrams
from train.metrics.intervals import Estimate, jackknife

GROUPS = 200
ORDERS = (1, 2)
_SEVERAL = -1


class Variety:
    """Counts of one system's replies, one reply per context."""

    def __init__(self) -> None:
        """Nothing counted yet."""
        self._all = {order: NgramCounts(order) for order in ORDERS}
        self._owners: dict[int, dict[Ngram, int]] = {order: {} for order in ORDERS}
        self._group_totals = {order: Counter[int]() for order in ORDERS}
        self._group_words = [NgramCounts(1) for _ in range(GROUPS)]

    def add(self, dialogue: int, words: Sequence[str]) -> None:
        """Count a reply in the dialogue of this number."""
        group = dialogue % GROUPS
        self._group_words[group].add(words)
        for order in ORDERS:
            self._all[order].add(words)
            grams = ngrams(words, order)
            self._group_totals[order][group] += len(grams)
            self._own(self._owners[order], grams, group)

    def dist(self, order: int) -> Estimate:
        """Distinct n-grams / n-grams, n-grams within a reply (Li et al., 2016)."""
        counts = self._all[order]
        alone = Counter(self._owners[order].values())
        without = [
            _ratio(counts.distinct - alone[group], counts.total - total)
            for group, total in self._group_totals[order].items()
        ]
        return jackknife(counts.distinct_ratio, without)

    def entropy(self) -> Estimate:
        """Entropy of the unigram distribution of all replies, nats."""
        everything = self._all[1].counts
        total = everything.total()
        weighted = math.fsum(map(_weighted, everything.values()))
        groups = [self._group_words[group] for group in self._group_totals[1]]
        without = [
            _entropy(weighted - _change(everything, group.counts), total - group.total)
            for group in groups
        ]
        return jackknife(self._all[1].entropy_nats, without)

    @staticmethod
    def _own(owners: dict[Ngram, int], grams: Sequence[Ngram], group: int) -> None:
        for gram in grams:
            if owners.setdefault(gram, group) != group:
                owners[gram] = _SEVERAL


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _weighted(count: int) -> float:
    return count * math.log(count) if count else 0.0


def _change(everything: Counter[Ngram], group: Counter[Ngram]) -> float:
    """How far sum n ln n falls when a group's counts are taken out."""
    return math.fsum(
        _weighted(everything[word]) - _weighted(everything[word] - count)
        for word, count in group.items()
    )


def _entropy(weighted: float, total: int) -> float:
    """-sum p ln p = ln N - (sum n ln n) / N."""
    return math.log(total) - weighted / total if total else 0.0
