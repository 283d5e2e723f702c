"""Dist-n, EAD-n, entropy and UniKL over all replies of a test set, with jackknife intervals.

Dist-n and entropy are those of ``dialog_service.diversity``; what is kept beside them tells what
each would be without one group of dialogues. Memory grows with the number of different n-grams,
not of replies: words are counted per group, an n-gram remembers the one group that has it.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence

from dialog_service.diversity import Ngram, NgramCounts, ngrams
from train.metrics.intervals import Estimate, jackknife
from train.metrics.unigrams import Unigrams

GROUPS = 200
ORDERS = (1, 2)
EAD_VOCABULARY = 20_000
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
        self._group_words[group].add([words])
        for order in ORDERS:
            self._all[order].add([words])
            grams = ngrams(words, order)
            self._group_totals[order][group] += len(grams)
            self._own(self._owners[order], grams, group)

    def dist(self, order: int) -> Estimate:
        """Distinct n-grams / n-grams, n-grams within a reply (Li et al., 2016)."""
        return self._of_distinct(order, _ratio)

    def ead(self, order: int) -> Estimate:
        """``expectation_adjusted_distinct`` of the n-grams within replies."""
        return self._of_distinct(order, expectation_adjusted_distinct)

    def entropy(self) -> Estimate:
        """Entropy of the unigram distribution of all replies, nats."""
        return jackknife(self._all[1].entropy_nats, self._entropies_without())

    def uni_kl(self, corpus: Unigrams) -> Estimate:
        """KL(replies || corpus) of the unigram distributions, nats; 0 where there is no word.

        sum p ln(p / q) = sum p (-ln q) - entropy, with q smoothed. The Stochastic WAE paper's code
        passes over words that the corpus lacks, which ``coverage`` counts here.
        """
        expected, without = self._means(corpus.surprisal_nats)
        entropies = self._entropies_without()
        return jackknife(
            expected - self._all[1].entropy_nats,
            [mean - entropy for mean, entropy in zip(without, entropies, strict=True)],
        )

    def coverage(self, corpus: Unigrams) -> Estimate:
        """Share of the replies' words that the corpus has; 0 where there is no word."""
        return jackknife(*self._means(lambda word: float(word in corpus)))

    def _of_distinct(self, order: int, figure: Callable[[int, int], float]) -> Estimate:
        """A figure of the number of distinct n-grams and of n-grams."""
        counts = self._all[order]
        alone = Counter(self._owners[order].values())
        without = [
            figure(counts.distinct - alone[group], counts.total - total)
            for group, total in self._group_totals[order].items()
        ]
        return jackknife(figure(counts.distinct, counts.total), without)

    def _entropies_without(self) -> list[float]:
        """The entropy without each group."""
        everything = self._all[1].counts
        total = everything.total()
        weighted = math.fsum(map(_weighted, everything.values()))
        return [
            _entropy(weighted - _change(everything, group.counts), total - group.total)
            for group in self._groups()
        ]

    def _means(self, of: Callable[[str], float]) -> tuple[float, list[float]]:
        """The mean over all words of something about a word; the same without each group."""
        values = {gram: of(*gram) for gram in self._all[1].counts}

        def summed(counts: Counter[Ngram]) -> float:
            return math.fsum(count * values[gram] for gram, count in counts.items())

        total, words = summed(self._all[1].counts), self._all[1].total
        without = [
            _ratio(total - summed(group.counts), words - group.total) for group in self._groups()
        ]
        return _ratio(total, words), without

    def _groups(self) -> list[NgramCounts]:
        """The words of each group that has replies."""
        return [self._group_words[group] for group in self._group_totals[1]]

    @staticmethod
    def _own(owners: dict[Ngram, int], grams: Sequence[Ngram], group: int) -> None:
        for gram in grams:
            if owners.setdefault(gram, group) != group:
                owners[gram] = _SEVERAL


def expectation_adjusted_distinct(distinct: int, total: int) -> float:
    """EAD (Liu et al., 2022): D / (V (1 - ((V - 1) / V)^C)), V = 20,000; 0 without an n-gram.

    The denominator is how many different ones C uniform draws from V would show: what is expected
    grows with the text, so that long replies are not punished for their length.

    Args:
        distinct: D, different n-grams.
        total: C, n-grams.
    """
    expected = EAD_VOCABULARY * -math.expm1(total * math.log1p(-1 / EAD_VOCABULARY))
    return distinct / expected if total else 0.0


def _ratio(part: float, whole: float) -> float:
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
