"""The finished table, each row beside what its paper reports, as JSON and as Markdown.

Knows nothing of how rows come about; everything in it was read from their folders.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from train.experiments.experiment import Column, Decoding, Experiment, Section, TableRow
from train.experiments.findings import EvaluationReport, Training, read_report, read_training
from train.experiments.request import Request, Run
from train.metrics.intervals import Estimate

# Quantile .975 of Student's t by degrees of freedom (any statistics textbook's table).
_T_975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
_NORMAL_975 = 1.960


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True)


class Line(_Document):
    """One line of figures by column key, in the columns' units."""

    role: Literal["system", "reported", "human", "null"]
    title: str
    decoding: str = ""
    seeds: tuple[int, ...] = ()
    figures: dict[str, Estimate]


class SplitTable(_Document):
    """The lines of one split."""

    split: str
    title: str
    lines: tuple[Line, ...]


class Table(_Document):
    """``table.json``."""

    name: str
    corpus: str
    preset: str
    pair_mode: str
    source: str | None
    splits: tuple[SplitTable, ...]
    trainings: tuple[Training, ...]
    sentences: tuple[str, ...]
    differences: tuple[str, ...]
    unfinished: tuple[str, ...]


def make_table(request: Request, finished: Sequence[Run]) -> Table:
    """Read every finished run; rows without one are listed as unfinished.

    Raises:
        CheckpointError: a finished run's files cannot be read.
    """
    experiment = request.experiment
    trainings = tuple(read_training(run) for run in finished)
    splits = tuple(_split_table(experiment, section, finished) for section in experiment.sections)
    names = {run.name for run in finished}
    return Table(
        name=experiment.name,
        corpus=experiment.corpus,
        preset=request.preset,
        pair_mode=str(request.pair_mode or experiment.pair_mode),
        source=experiment.source,
        splits=splits,
        trainings=trainings,
        sentences=tuple(_sentences(experiment, splits[0], trainings)),
        differences=experiment.differences,
        unfinished=tuple(run.name for run in request.runs() if run.name not in names),
    )


def over_seeds(estimates: Sequence[Estimate]) -> Estimate:
    """Several seeds' figure: their mean with Student's 95% interval; of one seed its own.

    A single seed's interval is over dialogues, several seeds' is over seeds.
    """
    count = len(estimates)
    if count == 1:
        return estimates[0]
    values = [estimate.value for estimate in estimates]
    mean = sum(values) / count
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (count - 1))
    quantile = _T_975[count - 2] if count - 2 < len(_T_975) else _NORMAL_975
    margin = quantile * deviation / math.sqrt(count)
    return Estimate(mean, mean - margin, mean + margin)


def _split_table(experiment: Experiment, section: Section, finished: Sequence[Run]) -> SplitTable:
    lines: list[Line] = []
    for row in experiment.rows:
        runs = [run for run in finished if run.row.key == row.key]
        lines += _row_lines(row, section, runs) if runs else []
        if runs and section.is_reported:
            told = experiment.reported_epochs
            lines.append(_reported(row.title, row.reported, told, section.columns))
    lines += _null_lines(section, [read_report(run, section) for run in finished])
    if experiment.reported_test_set and section.is_reported:
        lines.append(_reported("test set", experiment.reported_test_set, "", section.columns))
    return SplitTable(split=section.split, title=section.title, lines=tuple(lines))


def _row_lines(row: TableRow, section: Section, runs: Sequence[Run]) -> list[Line]:
    """A line for each way of decoding, the model's own figures on the first."""
    reports = [read_report(run, section) for run in runs]
    seeds = tuple(run.seed for run in runs)
    lines = []
    for decoding in Decoding:
        figures = _decoded(reports, decoding, section.columns)
        if decoding is Decoding.OWN:
            figures |= _health(reports, section.columns)
        line = Line(role="system", title=row.title, decoding=decoding, seeds=seeds, figures=figures)
        lines += [line] if figures else []
    return lines


def _decoded(
    reports: Sequence[EvaluationReport], decoding: Decoding, columns: Sequence[Column]
) -> dict[str, Estimate]:
    rows = [row for report in reports if (row := report.decoded(decoding))]
    text_columns = [column for column in columns if not column.is_health]
    return _figures([row.figures for row in rows], text_columns)


def _health(reports: Sequence[EvaluationReport], columns: Sequence[Column]) -> dict[str, Estimate]:
    figures = [report.health.figures for report in reports if report.health]
    return _figures(figures, [column for column in columns if column.is_health])


def _figures(
    found: Sequence[dict[str, Estimate]], columns: Sequence[Column]
) -> dict[str, Estimate]:
    """Over seeds, in the columns' units; a column is left out unless every seed has it."""
    return {
        column.key: over_seeds([_scaled(one[column.key], column.scale) for one in found])
        for column in columns
        if found and all(column.key in one for one in found)
    }


def _scaled(estimate: Estimate, scale: float) -> Estimate:
    low = None if estimate.low is None else estimate.low * scale
    high = None if estimate.high is None else estimate.high * scale
    return Estimate(estimate.value * scale, low, high)


def _null_lines(section: Section, reports: Sequence[EvaluationReport]) -> list[Line]:
    """The human row and every null row, each from the first report that has it."""
    found: dict[str, Line] = {}
    for row in (row for report in reports for row in report.others()):
        role: Literal["human", "null"] = "human" if row.role == "human" else "null"
        figures = _figures([row.figures], [c for c in section.columns if not c.is_health])
        found.setdefault(row.name, Line(role=role, title=row.name, figures=figures))
    return list(found.values())


def _reported(
    title: str, figures: Mapping[str, float], told: str, columns: Sequence[Column]
) -> Line:
    known = {c.key: Estimate(figures[c.key]) for c in columns if c.key in figures}
    return Line(role="reported", title=title, decoding=told, figures=known)


def _sentences(
    experiment: Experiment, split: SplitTable, trainings: Sequence[Training]
) -> list[str]:
    """For each row: our figures and the paper's under its decoding, if any, and what differs."""
    columns = experiment.sections[0].columns
    sentences = []
    for row in experiment.rows:
        lines = [x for x in split.lines if x.title == row.title and x.role == "system"]
        own = [training for training in trainings if training.row == row.key]
        if lines and own:
            compared = _compared(lines, row, columns)
            epochs = ", ".join(sorted({training.epochs_told for training in own}))
            told = f"{compared}; epochs" if experiment.source else "epochs"
            sentences.append(f"{row.title}: {told}: {epochs}. {row.difference}")
    return sentences


def _compared(lines: Sequence[Line], row: TableRow, columns: Sequence[Column]) -> str:
    """Every figure that both have, ours by the line whose tokens are greedy as the paper's are."""
    by_decoding = {line.decoding: line for line in lines}
    line = next(
        by_decoding[decoding]
        for decoding in (Decoding.DRAWN, Decoding.GREEDY, Decoding.OWN)
        if decoding in by_decoding
    )
    figures = lines[0].figures | line.figures
    told = [
        f"{c.title} {figures[c.key].value:.{c.decimals}f} ({row.reported[c.key]:.{c.decimals}f})"
        for c in columns
        if c.key in figures and c.key in row.reported
    ]
    return f"{line.decoding}, ours (reported): {', '.join(told) or 'no figure of the paper'}"
