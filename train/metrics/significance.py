"""Whether two systems' figures on the same contexts differ by more than chance.

The test is approximate randomisation (Noreen, 1989): were the systems the same, a dialogue's two
sets of replies could change places without anyone noticing. A figure's difference is held against
those of random exchanges, whole dialogues at a time, since contexts of one dialogue are not
independent. Nothing is asked of the figure: sums, distinct n-grams and entropy alike. A bootstrap
would not do for the latter, since its resamples repeat dialogues (see ``intervals``).
"""

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dialog_service.diversity import ngrams
from train.metrics.counting import WIDTH, Column, Counts
from train.metrics.intervals import Estimate, Sums, bootstrap, jackknife, resampled_sums
from train.metrics.scoring import METRICS, Metric
from train.metrics.variety import GROUPS, ORDERS, expectation_adjusted_distinct

_ROUNDING = 1e-9

Weights = npt.NDArray[np.float64]
Step = Callable[[], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Randomisation:
    """How often dialogues are exchanged, and the seed of exchanges and resampling.

    Few dialogues can be exchanged in no more ways than this: then each way is tried, and p is
    exact. Otherwise no p-value falls below 1 / (exchanges + 1).
    """

    exchanges: int = 5000
    seed: int = 0

    def is_exact(self, dialogues: int) -> bool:
        """Whether so many dialogues are exchanged in every way there is."""
        ways: int = 2**dialogues
        return ways <= self.exchanges

    def tried(self, dialogues: int) -> int:
        """Exchanges of so many dialogues: every way there is, or as many as asked for at random."""
        return 2**dialogues if self.is_exact(dialogues) else self.exchanges


@dataclass(frozen=True, slots=True)
class Difference:
    """The second system's figure less the first's, with its 95% interval and p-value.

    ``p`` is two-sided, ``p_holm`` the same corrected for the number of figures compared.
    """

    first: float
    second: float
    difference: Estimate
    p: float
    p_holm: float


@dataclass(frozen=True, slots=True)
class _Chosen:
    """Counts of some dialogues' replies: summed vectors, and every n-gram's frequency by order."""

    sums: Sums
    frequencies: dict[int, Sums]

    def __sub__(self, other: "_Chosen") -> "_Chosen":
        rest = {n: counts - other.frequencies[n] for n, counts in self.frequencies.items()}
        return _Chosen(self.sums - other.sums, rest)


class _Grams:
    """The n-grams of one order: who has which, how often."""

    def __init__(self, order: int, units: Sequence[Sequence[list[str]]]) -> None:
        """Number the n-grams of the replies of every unit."""
        numbers: dict[tuple[str, ...], int] = {}
        places: list[int] = []
        grams: list[int] = []
        times: list[int] = []
        for place, replies in enumerate(units):
            counts = Counter(gram for words in replies for gram in ngrams(words, order))
            places += [place] * len(counts)
            grams += [numbers.setdefault(gram, len(numbers)) for gram in counts]
            times += counts.values()
        self._places = np.array(places, dtype=np.int64)
        self._grams = np.array(grams, dtype=np.int64)
        self._times = np.array(times, dtype=np.float64)
        self._size = len(numbers)

    def frequencies(self, weights: Weights) -> Sums:
        """(V,) how often each n-gram is in the replies, units weighted by (2D,) ``weights``."""
        weighted = self._times * weights[self._places]
        counts = np.bincount(self._grams, weights=weighted, minlength=self._size)
        return counts.astype(np.float64, copy=False)


class Pairing:
    """Two systems' replies to the same contexts, counted dialogue by dialogue."""

    def __init__(
        self,
        dialogues: Sequence[str],
        sides: Sequence[Sequence[Counts]],
        metrics: Sequence[Metric] = METRICS,
    ) -> None:
        """Add up each dialogue's counts.

        Args:
            dialogues: (N,) the dialogue of each context.
            sides: two times (N,) counts of each context, in the same order.
            metrics: to be compared, as far as both systems have them.
        """
        numbers = {name: number for number, name in enumerate(dict.fromkeys(dialogues))}
        self.count = len(numbers)
        self._units = np.zeros((2 * self.count, WIDTH))
        replies: list[list[list[str]]] = [[] for _ in self._units]
        for side, contexts in enumerate(sides):
            for name, counts in zip(dialogues, contexts, strict=True):
                unit = side * self.count + numbers[name]
                self._units[unit] += counts.vector
                replies[unit].append(counts.words)
        self._grams = {order: _Grams(order, replies) for order in ORDERS}
        totals = self._units.reshape(2, self.count, WIDTH).sum(axis=1)
        self.metrics = tuple(m for m in metrics if _is_had(m, totals))

    def differences(self, how: Randomisation, advance: Step) -> dict[str, Difference]:
        """Every figure that both have, by its key.

        Args:
            how: number and seed of the exchanges.
            advance: called after each of them.
        """
        first, second = self._sides()
        ps = self.p_values(how, advance)
        intervals = self._intervals(second - first, how.seed)
        rows = zip(first, second, intervals, ps, holm(ps), strict=True)
        return {
            metric.key: Difference(float(a), float(b), interval, p, p_holm)
            for metric, (a, b, interval, p, p_holm) in zip(self.metrics, rows, strict=True)
        }

    def p_values(self, how: Randomisation, advance: Step) -> list[float]:
        """(M,) share of exchanges that differ as much, the pair as it is being one of them."""
        first, second = self._sides()
        found = second - first
        ways, as_much = 0, np.zeros(len(found))
        for exchanged in self._exchanged(how):
            # A figure that an exchange leaves undefined counts against a difference.
            as_much += ~(np.abs(exchanged) < np.abs(found) * (1 - _ROUNDING) - _ROUNDING)
            ways += 1
            advance()
        return [float(p) for p in as_much / ways]

    def _exchanged(self, how: Randomisation) -> Iterator[Sums]:
        """(M,) differences after each exchange of dialogues."""
        everything = self._chosen(np.ones(2 * self.count))
        for stays in self._stays(how):
            one = self._chosen(np.concatenate([stays, 1 - stays]))
            yield self._figures(everything - one) - self._figures(one)

    def _stays(self, how: Randomisation) -> Iterator[Weights]:
        """(D,) ones where a dialogue's replies stay: every way, or first all and then at random."""
        if how.is_exact(self.count):
            yield from map(np.array, itertools.product([1.0, 0.0], repeat=self.count))
            return
        random = np.random.default_rng(how.seed)
        yield np.ones(self.count)
        for _ in range(how.exchanges):
            yield random.integers(2, size=self.count).astype(np.float64)

    def _intervals(self, found: Sums, seed: int) -> list[Estimate]:
        """Paired bootstrap for figures of sums, paired jackknife for the others."""
        both = np.hstack([self._units[: self.count], self._units[self.count :]])
        total, resamples = both.sum(axis=0), resampled_sums(both, seed=seed)
        without = self._without_groups()
        return [
            bootstrap(total, resamples, _paired(metric.figure))
            if metric.figure
            else jackknife(float(found[place]), without[:, place].tolist())
            for place, metric in enumerate(self.metrics)
        ]

    def _without_groups(self) -> Sums:
        """(G, M) differences without each group of dialogues; none where there is one group."""
        group_of = np.arange(self.count) % GROUPS
        groups = min(self.count, GROUPS)
        differences = np.zeros((groups if groups > 1 else 0, len(self.metrics)))
        for group, row in enumerate(differences):
            kept = (group_of != group).astype(np.float64)
            one, other = (self._chosen(self._side(side) * np.tile(kept, 2)) for side in (0, 1))
            row[:] = self._figures(other) - self._figures(one)
        return differences

    def _sides(self) -> tuple[Sums, Sums]:
        """(M,) figures of either system."""
        first, second = (self._figures(self._chosen(self._side(side))) for side in (0, 1))
        return first, second

    def _side(self, side: int) -> Weights:
        """(2D,) one for the dialogues of this system, zero for the other's."""
        return np.repeat([1.0 - side, float(side)], self.count)

    def _chosen(self, weights: Weights) -> _Chosen:
        grams = {order: grams.frequencies(weights) for order, grams in self._grams.items()}
        return _Chosen(weights @ self._units, grams)

    def _figures(self, chosen: _Chosen) -> Sums:
        """(M,) figures of what was chosen."""
        return np.array(
            [
                metric.figure(chosen.sums) if metric.figure else _VARIETIES[metric.key](chosen)
                for metric in self.metrics
            ]
        )


def holm(ps: Sequence[float]) -> list[float]:
    """P-values that stay honest though several are looked at (Holm, 1979).

    The k-th smallest of m is multiplied by m - k + 1; none is below a smaller one's.
    """
    corrected, least = [0.0] * len(ps), 0.0
    for rank, place in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        least = max(least, min(1.0, ps[place] * (len(ps) - rank)))
        corrected[place] = least
    return corrected


def _is_had(metric: Metric, totals: Sums) -> bool:
    """Whether both systems have the figure, from (2, WIDTH) totals."""
    is_counted = metric.figure is not None or metric.key in _VARIETIES
    return is_counted and bool(totals[:, metric.needs].all())


def _paired(figure: Callable[[Sums], float]) -> Callable[[Sums], float]:
    """(2 x WIDTH,) sums of both -> the difference of their figures."""
    return lambda sums: figure(sums[WIDTH:]) - figure(sums[:WIDTH])


def _distinct_ratio(frequencies: Sums) -> float:
    total = frequencies.sum()
    return float(np.count_nonzero(frequencies) / total) if total else 0.0


def _expectation_adjusted(frequencies: Sums) -> float:
    return expectation_adjusted_distinct(
        int(np.count_nonzero(frequencies)), round(float(frequencies.sum()))
    )


def _entropy_nats(frequencies: Sums) -> float:
    total = float(frequencies.sum())
    some = frequencies[frequencies > 0]
    return math.log(total) - float(some @ np.log(some)) / total if total else 0.0


def _per_word(chosen: _Chosen, column: Column) -> float:
    total = chosen.sums[Column.TOKENS]
    return float(chosen.sums[column] / total) if total else 0.0


def _uni_kl(chosen: _Chosen) -> float:
    """As ``Variety.uni_kl``: mean surprisal in the corpus less the replies' own entropy."""
    return _per_word(chosen, Column.SURPRISAL) - _entropy_nats(chosen.frequencies[1])


_VARIETIES: dict[str, Callable[[_Chosen], float]] = {
    "entropy": lambda chosen: _entropy_nats(chosen.frequencies[1]),
    "dist_1": lambda chosen: _distinct_ratio(chosen.frequencies[1]),
    "dist_2": lambda chosen: _distinct_ratio(chosen.frequencies[2]),
    "ead_1": lambda chosen: _expectation_adjusted(chosen.frequencies[1]),
    "ead_2": lambda chosen: _expectation_adjusted(chosen.frequencies[2]),
    "uni_kl": _uni_kl,
    "coverage": lambda chosen: _per_word(chosen, Column.KNOWN_WORDS),
}
