"""Rows of figures as the page shows them: cards at the top, then tables with what they mean."""

from collections.abc import Sequence
from dataclasses import dataclass

from train.evaluate.page.legend import (
    HEADLINES,
    MEANINGS,
    Direction,
    Group,
    Meaning,
)
from train.metrics.intervals import Estimate
from train.metrics.null_rows import Role
from train.metrics.report import Report, Row
from train.metrics.scoring import METRICS, Metric

_UNKNOWN = Meaning(Group.OTHER, Direction.HUMAN, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A figure, half its interval's width, its share of the human row; each may be absent.

    Where lower is better a share would read the wrong way round, so there is none.
    """

    value: str = ""
    margin: str = ""
    share: str = ""
    is_best: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """One row; ``role`` chooses how it stands out."""

    name: str
    role: Role
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A column's title and what it means."""

    title: str
    direction: str
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureTable:
    """Columns that are read together."""

    title: str
    heads: tuple[Head, ...]
    rows: tuple[TableRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One figure of the judged system, large.

    Of figures of quality, ``is_judged`` where rows without a model stand beside it, and the
    ``rivals`` are those that do as well; of diversity they mean nothing.
    """

    title: str
    direction: str
    cell: Cell
    rivals: tuple[str, ...]
    is_judged: bool


def has_several_systems(report: Report) -> bool:
    """Whether there is a best one."""
    return sum(row.role is Role.SYSTEM for row in report.rows) > 1


def meaning_of(metric: Metric) -> Meaning:
    """What a figure means, nothing where nobody wrote it down."""
    return MEANINGS.get(metric.key, _UNKNOWN)


def metrics_of(report: Report) -> list[Metric]:
    """The columns that any row has."""
    present = {key for row in report.rows for key in row.figures}
    return [metric for metric in METRICS if metric.key in present]


def human_figures(rows: Sequence[Row]) -> dict[str, Estimate]:
    """The human row's figures; none without such a row."""
    return next((row.figures for row in rows if row.role is Role.HUMAN), {})


def figure_tables(report: Report) -> tuple[FigureTable, ...]:
    """One table for each group that the report has figures of."""
    metrics = metrics_of(report)
    groups = {group: [m for m in metrics if meaning_of(m).group is group] for group in Group}
    return tuple(_table(report, group, chosen) for group, chosen in groups.items() if chosen)


def headlines(report: Report) -> list[Metric]:
    """The few figures that are shown large and drawn."""
    chosen = [metric for metric in metrics_of(report) if metric.key in HEADLINES]
    return sorted(chosen, key=lambda metric: HEADLINES.index(metric.key))


def headline_cards(report: Report) -> tuple[Card, ...]:
    """The headlines of the first row, beside human and what needs no model."""
    return tuple(
        _card(report, row, metric)
        for row in report.rows[:1]
        for metric in headlines(report)
        if metric.key in row.figures
    )


def _table(report: Report, group: Group, metrics: Sequence[Metric]) -> FigureTable:
    best = {metric.key: _best(report.rows, metric) for metric in metrics}
    human = human_figures(report.rows)
    heads = [
        Head(title=m.title, direction=meaning_of(m).direction, sentence=meaning_of(m).sentence)
        for m in metrics
    ]
    rows = [
        TableRow(
            name=row.name,
            role=row.role,
            cells=tuple(_cell(row, m, human, is_best=best[m.key] is row) for m in metrics),
        )
        for row in report.rows
    ]
    return FigureTable(title=group, heads=tuple(heads), rows=tuple(rows))


def _card(report: Report, row: Row, metric: Metric) -> Card:
    meaning, human = meaning_of(metric), human_figures(report.rows)
    bad = {
        other.name: badness
        for other in report.rows
        if other.role is Role.NULL and meaning.group is Group.QUALITY
        if (badness := _badness(other, metric, human)) is not None
    }
    own = _badness(row, metric, human)
    return Card(
        title=metric.title,
        direction=meaning.direction,
        cell=_cell(row, metric, human, is_best=False),
        rivals=tuple(name for name, value in bad.items() if own is None or value <= own),
        is_judged=bool(bad),
    )


def _cell(row: Row, metric: Metric, human: dict[str, Estimate], *, is_best: bool) -> Cell:
    estimate = row.figures.get(metric.key)
    if estimate is None:
        return Cell()
    reference = human.get(metric.key)
    has_share = (
        reference is not None
        and reference.value > 0
        and row.role is not Role.HUMAN
        and meaning_of(metric).direction is not Direction.LOWER
    )
    return Cell(
        value=f"{estimate.value:.{metric.decimals}f}",
        margin=margin_of(estimate, metric.decimals),
        share=f"{estimate.value / reference.value:.0%}" if reference and has_share else "",
        is_best=is_best,
    )


def margin_of(estimate: Estimate, decimals: int) -> str:
    """Half the interval's width; nothing where there is no interval."""
    if estimate.low is None or estimate.high is None:
        return ""
    return f"±{(estimate.high - estimate.low) / 2:.{decimals}f}"


def _best(rows: Sequence[Row], metric: Metric) -> Row | None:
    """The best of several systems; none where nothing is to be told apart."""
    human = human_figures(rows)
    ranked = [
        (badness, place)
        for place, row in enumerate(rows)
        if row.role is Role.SYSTEM and (badness := _badness(row, metric, human)) is not None
    ]
    return rows[min(ranked)[1]] if len(ranked) > 1 else None


def _badness(row: Row, metric: Metric, human: dict[str, Estimate]) -> float | None:
    """Falls as the figure gets better; None where that cannot be said."""
    estimate, reference = row.figures.get(metric.key), human.get(metric.key)
    if estimate is None:
        return None
    match meaning_of(metric).direction:
        case Direction.HIGHER:
            return -estimate.value
        case Direction.LOWER:
            return estimate.value
        case Direction.HUMAN:
            return None if reference is None else abs(estimate.value - reference.value)
