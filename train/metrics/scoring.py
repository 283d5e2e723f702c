"""From the replies of one system to its row of figures: counts per dialogue, then the figures.

Every figure is a function of counts that add up over contexts, but for those of ``variety``.
Knows nothing of where replies come from.
"""

import math
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from train.metrics.counting import DRAWS, WIDTH, Case, Column, ContextCounter, Counts
from train.metrics.intervals import Estimate, Sums, bootstrap, resampled_sums
from train.metrics.judgement import CANDIDATES
from train.metrics.overlap import BleuCounts
from train.metrics.unigrams import Unigrams
from train.metrics.variety import Variety

__all__ = ["METRICS", "Case", "Dialogues", "Metric", "RowScorer"]

MAX_UNITS = 20_000
# What sums are divided by: each column by the last of these before it.
_DIVISORS = (
    Column.CONTEXTS,
    Column.SEVERAL,
    Column.DRAWN,
    Column.JUDGED,
    Column.LM_TOKENS,
    Column.LM_TOKENS_ALL,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A column of the table: ``figure`` makes it of summed counts, or ``variety`` gives it.

    A row has it where the sum over its contexts of ``needs`` is not zero.
    """

    key: str
    title: str
    decimals: int
    figure: Callable[[Sums], float] | None = None
    needs: Column = Column.CONTEXTS


def _bleu(order: int) -> Metric:
    return Metric(
        key=f"bleu_{order}",
        title=f"BLEU-{order}",
        decimals=2,
        figure=lambda sums: BleuCounts.from_vector(sums[Column.BLEU :]).bleu(order),
    )


def _mean(key: str, title: str, column: Column, *, decimals: int = 3) -> Metric:
    """A mean over the contexts that have it, or over their words."""
    over = max(divisor for divisor in _DIVISORS if divisor < column)
    return Metric(
        key=key,
        title=title,
        decimals=decimals,
        figure=lambda sums: float(sums[column] / sums[over]) if sums[over] else math.nan,
        needs=over,
    )


OVERLAP_METRICS = (
    _bleu(2),
    _bleu(4),
    _mean("set_precision", "set precision", Column.SET_PRECISION),
    # Of one reply it is the precision once more.
    replace(_mean("set_recall", "set recall", Column.SET_RECALL), needs=Column.SEVERAL),
)
JUDGED_METRICS = (
    _mean("relevance", "relevance", Column.RELEVANCE),
    _mean("relevance_all", "relevance of all", Column.RELEVANCE_ALL),
    _mean("relevance_rank", f"rank of {CANDIDATES}", Column.RANK, decimals=1),
    _mean("relevance_mrr", "MRR", Column.RECIPROCAL_RANK),
)
FLUENCY_METRICS = (
    _mean("lm_nats", "LM nats", Column.LM_NATS, decimals=2),
    _mean("lm_nats_all", "LM nats of all", Column.LM_NATS_ALL, decimals=2),
)
VARIETY_METRICS = (
    Metric(key="entropy", title="entropy", decimals=2),
    Metric(key="dist_1", title="Dist-1", decimals=3),
    Metric(key="dist_2", title="Dist-2", decimals=3),
    Metric(key="ead_1", title="EAD-1", decimals=3),
    Metric(key="ead_2", title="EAD-2", decimals=3),
)
CORPUS_METRICS = (
    Metric(key="uni_kl", title="UniKL", decimals=3, needs=Column.LOOKED_UP),
    Metric(key="coverage", title="words in corpus", decimals=4, needs=Column.LOOKED_UP),
)
SUMMED_METRICS = (
    _mean("avg_len", "AvgLen", Column.TOKENS, decimals=1),
    _mean("intra_dist_1", "intra-Dist-1", Column.INTRA_DIST_1),
    _mean("intra_dist_2", "intra-Dist-2", Column.INTRA_DIST_2),
    _mean("inter_dist_1", "inter-Dist-1", Column.INTER_DIST_1),
    _mean("inter_dist_2", "inter-Dist-2", Column.INTER_DIST_2),
    _mean("self_bleu_2", "self-BLEU-2", Column.SELF_BLEU_2),
    _mean("self_bleu_4", "self-BLEU-4", Column.SELF_BLEU_4),
    _mean("unique_replies", f"unique of {DRAWS}", Column.UNIQUE, decimals=2),
)
METRICS = (
    *OVERLAP_METRICS,
    *JUDGED_METRICS,
    *FLUENCY_METRICS,
    *VARIETY_METRICS,
    *CORPUS_METRICS,
    *SUMMED_METRICS,
)


class Dialogues:
    """Numbers dialogues in the order in which they first come; rows may share one.

    Grows with the dialogues, one name each: nothing else about them does beyond ``MAX_UNITS``.
    """

    def __init__(self) -> None:
        """None has come yet."""
        self._numbers: dict[str, int] = {}

    def number(self, dialogue: str) -> int:
        """From 0."""
        return self._numbers.setdefault(dialogue, len(self._numbers))

    def __len__(self) -> int:
        """How many have come."""
        return len(self._numbers)


class RowScorer:
    """Takes a system's replies context by context and gives its figures.

    What is resampled is the dialogue; of more than ``MAX_UNITS`` dialogues, groups of them, dealt
    out in turn, so that neither memory nor time of the resampling grows any further.
    """

    def __init__(
        self,
        *,
        is_response: bool = False,
        count: int | None = None,
        corpus: Unigrams | None = None,
        dialogues: Dialogues | None = None,
    ) -> None:
        """Start a row.

        Args:
            is_response: the replies are the responses themselves; overlap is left out.
            count: replies a context, as ``ContextCounter`` has it.
            corpus: what UniKL compares with; None leaves it out.
            dialogues: the numbering to share; None is one of its own.
        """
        self._is_response = is_response
        self._counter = ContextCounter(count=count, is_response=is_response)
        self._corpus = corpus
        self._variety = Variety()
        self._dialogues = Dialogues() if dialogues is None else dialogues
        self._sums = array("d")
        self._sizes = Counter[int]()

    def add_all(self, cases: Sequence[Case], replies: Sequence[Sequence[str]]) -> None:
        """``add`` for each of several cases."""
        for case, given in zip(cases, replies, strict=True):
            self.add(case, given)

    def add(self, case: Case, replies: Sequence[str]) -> None:
        """Count one context's replies; the first stands for the context, the rest for its pool."""
        self.take(self._counter.of(case, replies))

    def take(self, counts: Counts) -> None:
        """Add one context's counts."""
        number = self._dialogues.number(counts.dialogue)
        self._variety.add(number, counts.words)
        self._sizes[counts.replies] += 1
        start = number % MAX_UNITS * WIDTH
        missing = start + WIDTH - len(self._sums)
        self._sums.extend([0.0] * missing)
        for column, value in enumerate(counts.vector, start=start):
            self._sums[column] += value

    def figures(self, seed: int) -> dict[str, Estimate]:
        """Every figure the replies allow, by the metric's key, with its 95% interval.

        Args:
            seed: of the bootstrap over dialogues.
        """
        units = np.frombuffer(self._sums).reshape(-1, WIDTH)
        total = units.sum(axis=0)
        resamples = resampled_sums(units, seed=seed)
        overlap = () if self._is_response else OVERLAP_METRICS
        metrics = (*overlap, *JUDGED_METRICS, *FLUENCY_METRICS, *SUMMED_METRICS)
        return self._varieties() | {
            metric.key: bootstrap(total, resamples, metric.figure)
            for metric in metrics
            if metric.figure and total[metric.needs]
        }

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
        return len(self._dialogues)

    def _varieties(self) -> dict[str, Estimate]:
        """The figures that are not sums."""
        variety = self._variety
        figures = {
            "entropy": variety.entropy(),
            "dist_1": variety.dist(1),
            "dist_2": variety.dist(2),
            "ead_1": variety.ead(1),
            "ead_2": variety.ead(2),
        }
        if self._corpus:
            figures["uni_kl"] = variety.uni_kl(self._corpus)
            figures["coverage"] = variety.coverage(self._corpus)
        return figures
