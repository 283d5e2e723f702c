"""Which figures of two evaluations can be held against each other, and why the others cannot.

Whatever takes a classifier, a corpus or a language model was measured when the evaluations were
made: it compares where both were measured by the same.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

from train.evaluate.comparison import Omission
from train.evaluate.journal import REPLIES
from train.evaluate.measures import MeasuredBy, Measures, MeasuresLine
from train.evaluate.tellers import Told
from train.metrics.counting import Counts
from train.metrics.scoring import CORPUS_METRICS, FLUENCY_METRICS, JUDGED_METRICS, METRICS, Metric
from train.metrics.unigrams import with_familiarity

_COMMAND = (
    f"python -m train.evaluate --replies-file FOLDER/{REPLIES} --corpus ... --data-dir ... "
    "--output NEW"
)
_AGAIN = f"score those replies again: {_COMMAND}"
_SAME_WAY = f"score the replies of both again, on one machine and with the same flags: {_COMMAND}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """Figures that one yardstick gives, its fingerprint, its name, how its absence is told."""

    metrics: tuple[Metric, ...]
    fingerprint: Callable[[MeasuredBy], str | None]
    name: str
    absent: str


_KINDS = (
    _Kind(
        metrics=JUDGED_METRICS,
        fingerprint=lambda by: by.judge,
        name="classifiers",
        absent="evaluated without relevance",
    ),
    _Kind(
        metrics=CORPUS_METRICS,
        fingerprint=lambda by: by.corpus,
        name="word frequencies",
        absent="evaluated without a corpus",
    ),
    _Kind(
        metrics=FLUENCY_METRICS,
        fingerprint=lambda by: by.language_model,
        name="language models",
        absent="evaluated without a corpus, or by an earlier version",
    ),
)


def common_yardsticks(first: Measures, second: Measures) -> MeasuredBy:
    """By whom both were measured."""
    one, other = first.by, second.by
    return MeasuredBy(
        judge=one.judge if one.judge == other.judge else None,
        corpus=one.corpus if one.corpus == other.corpus else None,
        language_model=one.language_model if one.language_model == other.language_model else None,
    )


def with_measures(counts: Counts, line: MeasuresLine, by: MeasuredBy, count: int) -> Counts:
    """One context's counts with what was measured of its first replies.

    Args:
        counts: of the replies.
        line: what was measured of them.
        by: whose measures count.
        count: replies that make the pool.
    """
    is_judged, is_read = by.judge is not None, by.language_model is not None
    told = Told(
        judgement=line.judgement.of_first(count) if is_judged and line.judgement else None,
        fluency=line.fluency.of_first(count) if is_read and line.fluency else None,
    )
    if by.corpus is not None and line.familiarity:
        counts = with_familiarity(counts, line.familiarity)
    return told.beside(counts)


def omissions(missing: Collection[str], first: Measures, second: Measures) -> tuple[Omission, ...]:
    """Why each figure that a report has is not compared, those of one reason together.

    Args:
        missing: keys of the figures.
        first: of A.
        second: of B.
    """
    reasons = _reasons({"A": first, "B": second})
    figures: defaultdict[str, list[str]] = defaultdict(list)
    for metric in METRICS:
        if metric.key in missing:
            figures[reasons.get(metric.key, "one of the two has none")].append(metric.key)
    return tuple(Omission(figures=tuple(keys), why=why) for why, keys in figures.items())


def _reasons(sides: Mapping[str, Measures]) -> dict[str, str]:
    """Of every figure that cannot be compared for want of a common yardstick."""
    return {
        metric.key: why for kind in _KINDS if (why := _why(kind, sides)) for metric in kind.metrics
    }


def _why(kind: _Kind, sides: Mapping[str, Measures]) -> str:
    """What is in the way of one kind's figures, and what to do; empty where nothing is."""
    prints = [kind.fingerprint(side.by) for side in sides.values()]
    if None not in prints:
        one, other = prints
        differ = f"A and B were measured with different {kind.name} ({one} and {other})"
        return f"{differ}; to have them, {_SAME_WAY}" if one != other else ""
    return f"{'; '.join(_lacks(kind, sides))}; to have them, {_AGAIN}"


def _lacks(kind: _Kind, sides: Mapping[str, Measures]) -> Iterator[str]:
    """Who has none of a kind, and why, those of one reason together."""
    lacking: defaultdict[str, list[str]] = defaultdict(list)
    for name, side in sides.items():
        if kind.fingerprint(side.by) is None:
            lacking[side.problem or kind.absent].append(name)
    return (f"{' and '.join(names)}: {problem}" for problem, names in lacking.items())
