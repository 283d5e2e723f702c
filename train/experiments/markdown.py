"""A finished table as Markdown: figures, how each row was trained, what differs from the paper."""

from collections.abc import Sequence

from train.experiments.experiment import Column, Experiment
from train.experiments.findings import Training
from train.experiments.result import Line, SplitTable, Table
from train.metrics.intervals import Estimate


def markdown(table: Table, experiment: Experiment) -> str:
    """The whole page."""
    columns = {section.split: section.columns for section in experiment.sections}
    parts = [
        f"# {_titled(table)}, preset {table.preset}, pairs: {table.pair_mode}",
        f"{_reported_by(table)}{_intervals(table)}",
        *(_split_part(split, columns[split.split]) for split in table.splits),
        _trainings_part(table.trainings),
        _listed("Each row beside the paper's" if table.source else "Each row", table.sentences),
        _listed("What sets all rows apart from the paper's", table.differences),
        _listed("Not finished", table.unfinished),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _titled(table: Table) -> str:
    """The table's name, and its corpus where that is another word."""
    return table.name if table.name == table.corpus else f"{table.name} on {table.corpus}"


def _reported_by(table: Table) -> str:
    return f"In italics what is reported by {table.source}. " if table.source else ""


def _intervals(table: Table) -> str:
    if any(len(line.seeds) > 1 for split in table.splits for line in split.lines):
        return "± half the 95% interval over seeds; of a single seed and of null rows, dialogues."
    return "One seed; ± half the 95% interval over dialogues."


def _split_part(split: SplitTable, columns: Sequence[Column]) -> str:
    shown = [c for c in columns if any(c.key in line.figures for line in split.lines)]
    lines = [
        f"## {split.split}: {split.title}",
        "",
        f"| | | {' | '.join(column.title for column in shown)} |",
        f"|---|---|{'---|' * len(shown)}",
        *(_table_line(line, shown) for line in split.lines),
    ]
    return "\n".join(lines)


def _table_line(line: Line, columns: Sequence[Column]) -> str:
    cells = [_cell(line.figures.get(column.key), column) for column in columns]
    match line:
        case Line(role="reported"):
            told = f"reported, {line.decoding}" if line.decoding else "reported"
            words = [f"*{line.title}*", f"*{told}*"]
            cells = [cell if cell == "-" else f"*{cell}*" for cell in cells]
        case Line(role="system"):
            words = [f"**{line.title}**", line.decoding]
        case _:
            words = [line.title, ""]
    return f"| {' | '.join([*words, *cells])} |"


def _cell(estimate: Estimate | None, column: Column) -> str:
    if estimate is None:
        return "-"
    value = f"{estimate.value:.{column.decimals}f}"
    if estimate.low is None or estimate.high is None:
        return value
    return f"{value} ±{(estimate.high - estimate.low) / 2:.{column.decimals}f}"


def _trainings_part(trainings: Sequence[Training]) -> str:
    titles = ("row", "seed", "preset", "epochs", "best", "minutes", "pairs/s", "evaluation",
              "machine", "commit", "config")  # fmt: skip
    lines = [
        "## How each row was trained",
        "",
        f"| {' | '.join(titles)} |",
        f"|{'---|' * len(titles)}",
        *(_training_line(training) for training in trainings),
    ]
    return "\n".join(lines) if trainings else ""


def _training_line(training: Training) -> str:
    cells = (
        training.row,
        str(training.seed),
        training.preset,
        training.epochs_told,
        str(training.best_epoch),
        f"{training.minutes:.1f}",
        f"{training.pairs_per_second:,.0f}",
        f"{training.evaluation_minutes:.1f} min",
        "; then ".join(map(str, training.machines)) or "-",
        training.commit,
        f"[{training.config}]({training.config})",
    )
    return f"| {' | '.join(cells)} |"


def _listed(title: str, points: Sequence[str]) -> str:
    if not points:
        return ""
    return "\n".join([f"## {title}", "", *(f"- {point}" for point in points)])
