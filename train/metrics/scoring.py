"""From the replies of one system to its row of figures: counts per dialogue, then the figures.

Every figure is a function of counts that add up over contexts, but for those of ``variety``.
Knows nothing of where replies come from.
"""

import enum
import math
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from dialog_service.diversity import distinct_ratio, metric_tokens
from train.metrics.intervals import Estimate, Sums, bootstrap, resampled_sums
from train.metrics.overlap import MAX_ORDER, BleuCounts, self_bleu
from train.metrics.variety import Variety


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One context to answer: its turns, the responses people gave, the dialogue it is from.

    ``replies`` are those of the system in question where they were read from a file.
    """

    dialogue: str
    context: tuple[str, ...]
    responses: tuple[str, ...]
    replies: tuple[str, ...] = ()


class Column(enum.IntEnum):
    """Places of a context's counts in a vector; BLEU's own follow from ``BLEU`` on."""

    CONTEXTS = 0
    TOKENS = 1
    UNIQUE = 2
    SEVERAL = 3  # one where the context has several replies
    INTER_DIST_1 = 4
    INTER_DIST_2 = 5
    SELF_BLEU_2 = 6
    SELF_BLEU_4 = 7
    BLEU = 8


WIDTH = Column.BLEU + 2 + 2 * MAX_ORDER


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A column of the table; ``figure`` makes it of summed counts, or ``variety`` gives it."""

    key: str
    title: str
    decimals: int
    figure: Callable[[Sums], float] | None = None


def _bleu(order: int) -> Metric:
    return Metric(
        key=f"bleu_{order}",
        title=f"BLEU-{order}",
        decimals=2,
        figure=lambda sums: BleuCounts.from_vector(sums[Column.BLEU :]).bleu(order),
    )


def _mean(key: str, title: str, decimals: int, column: Column) -> Metric:
    """A mean over all contexts, or over those with several replies."""
    over = Column.CONTEXTS if column < Column.SEVERAL else Column.SEVERAL
    return Metric(
        key=key,
        title=title,
        decimals=decimals,
        figure=lambda sums: float(sums[column] / sums[over]) if sums[over] else math.nan,
    )


BLEU_METRICS = (_bleu(2), _bleu(4))
VARIETY_METRICS = (
    Metric(key="entropy", title="entropy", decimals=2),
    Metric(key="dist_1", title="Dist-1", decimals=3),
    Metric(key="dist_2", title="Dist-2", decimals=3),
)
LENGTH = _mean("avg_len", "AvgLen", 1, Column.TOKENS)
SEVERAL_METRICS = (
    _mean("inter_dist_1", "inter-Dist-1", 3, Column.INTER_DIST_1),
    _mean("inter_dist_2", "inter-Dist-2", 3, Column.INTER_DIST_2),
    _mean("self_bleu_2", "self-BLEU-2", 3, Column.SELF_BLEU_2),
    _mean("self_bleu_4", "self-BLEU-4", 3, Column.SELF_BLEU_4),
    _mean("unique_replies", "unique", 2, Column.UNIQUE),
)
METRICS = (*BLEU_METRICS, *VARIETY_METRICS, LENGTH, *SEVERAL_METRICS)


class RowScorer:
    """Takes a system's replies context by context and gives its figures."""

    def __init__(self, *, is_response: bool = False) -> None:
        """Start a row; BLEU is left out where the replies are the responses themselves."""
        self._is_response = is_response
        self._variety = Variety()
        self._places: dict[str, int] = {}
        self._counts = array("d")
        self._sizes = Counter[int]()

    def add_all(self, cases: Sequence[Case], replies: Sequence[Sequence[str]]) -> None:
        """``add`` for each of several cases."""
        for case, given in zip(cases, replies, strict=True):
            self.add(case, given)

    def add(self, case: Case, replies: Sequence[str]) -> None:
        """Count one context's replies; the first stands for the context, the rest for its pool."""
        place = self._places.setdefault(case.dialogue, len(self._places))
        if place * WIDTH == len(self._counts):
            self._counts.extend([0.0] * WIDTH)
        pool = [metric_tokens(reply) for reply in replies]
        self._sizes[len(pool)] += 1
        self._variety.add(place, pool[0])
        for column, count in enumerate(self._vector(case, pool), start=place * WIDTH):
            self._counts[column] += count

    def figures(self, seed: int) -> dict[str, Estimate]:
        """Every figure the replies allow, by the metric's key, with its 95% interval.

        Args:
            seed: of the bootstrap over dialogues.
        """
        dialogues = np.frombuffer(self._counts).reshape(-1, WIDTH)
        total = dialogues.sum(axis=0)
        resamples = resampled_sums(dialogues, seed=seed)
        metrics = () if self._is_response else BLEU_METRICS
        metrics += (LENGTH, *(SEVERAL_METRICS if total[Column.SEVERAL] else ()))
        figures = {m.key: bootstrap(total, resamples, m.figure) for m in metrics if m.figure}
        varieties = (self._variety.entropy(), self._variety.dist(1), self._variety.dist(2))
        return figures | {m.key: v for m, v in zip(VARIETY_METRICS, varieties, strict=True)}

    @property
    def contexts(self) -> int:
        """Contexts answered."""
        return self._sizes.total()

    def contexts_below(self, count: int) -> int:
        """Contexts with fewer replies than ``count``."""
        return sum(contexts for size, contexts in self._sizes.items() if size < count)

    @property
    def dialogues(self) -> int:
        """Dialogues that the contexts are from."""
        return len(self._places)

    def _vector(self, case: Case, pool: Sequence[list[str]]) -> list[float]:
        """(WIDTH,) counts of one context."""
        bleu = [0] * (WIDTH - Column.BLEU)
        if not self._is_response:
            bleu = BleuCounts.of(pool[0], [metric_tokens(r) for r in case.responses]).as_vector()
        unique = len({tuple(words) for words in pool})
        return [1, len(pool[0]), unique, *_sibling_counts(pool), *bleu]


def _sibling_counts(pool: Sequence[list[str]]) -> list[float]:
    """Counts from SEVERAL to SELF_BLEU_4: of the replies to one context among themselves."""
    if len(pool) < 2:
        return [0.0] * (Column.BLEU - Column.SEVERAL)
    return [1, distinct_ratio(pool, 1), distinct_ratio(pool, 2), *self_bleu(pool)]
