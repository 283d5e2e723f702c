"""What comparing two evaluations found, as JSON, as Markdown and on the terminal."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from train.metrics.document import Document
from train.metrics.intervals import Estimate
from train.metrics.null_rows import Role
from train.metrics.report import Report
from train.metrics.scoring import METRICS, Metric
from train.metrics.significance import Difference

COMPARISON = "compare.json"
COMPARISON_TABLE = "compare.md"
_ALPHA = 0.05
_HEADS = ("", "A", "B", "B - A", "95% interval", "p", "p Holm", "higher")
_HOW = (
    "p: two-sided, by exchanges of whole dialogues between A and B; p Holm: "
    f"corrected for the number of figures here. Below {_ALPHA} the difference is hardly chance and "
    "the higher one is named (which way is good, the report says); above, none is shown, which is "
    "not to say that there is none. Interval of B - A: 95%, over dialogues, for this figure alone."
)


class Side(Document):
    """One of the two evaluations: where its report is, what it judged, the row compared."""

    path: str
    subject: str
    row: str
    figures: dict[str, Estimate]


class NullRow(Document):
    """A row without a model, from the first report: the pairs are the same."""

    name: str
    role: Role
    figures: dict[str, Estimate]


class Omission(Document):
    """Figures of a report, by the metrics' keys, that are not compared, and why not."""

    figures: tuple[str, ...]
    why: str


class Comparison(Document):
    """Differences B - A by the metric's key, and what is left out.

    ``exchanges`` were tried; ``is_exact`` says that they are all there are.
    ``judge``, ``corpus`` and ``language_model`` are the fingerprints of the classifier, the word
    frequencies and the model of fluency that both were measured with, where they were.
    """

    first: Side
    second: Side
    contexts: int
    dialogues: int
    replies_per_context: int
    seed: int
    exchanges: int
    is_exact: bool = False
    judge: str | None = None
    corpus: str | None = None
    language_model: str | None = None
    differences: dict[str, Difference]
    not_compared: tuple[Omission, ...]
    null_rows: tuple[NullRow, ...]
    notes: tuple[str, ...]

    def write(self, directory: Path) -> None:
        """Write ``compare.json`` and ``compare.md`` into an existing directory."""
        (directory / COMPARISON).write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")
        (directory / COMPARISON_TABLE).write_text(self.markdown(), encoding="utf-8")

    def markdown(self) -> str:
        """The differences, then the rows without a model, then notes."""
        rows = list(self._rows())
        lines = [f"- {line}" for line in self._sides()]
        lines += ["", *_markdown(_HEADS, rows)]
        if self.null_rows:
            nulls = ["", *(row.name for row in self.null_rows)]
            lines += ["", *_markdown(nulls, list(self._null_cells()))]
        return "\n".join([*lines, "", *(f"- {note}" for note in self._remarks())]) + "\n"

    def show(self, console: Console) -> None:
        """Print the same."""
        for line in self._sides():
            console.print(line, markup=False, highlight=False, soft_wrap=True)
        console.print(_table(_HEADS, list(self._rows()), padding=0))
        if self.null_rows:
            heads = ["without a model", *(row.name for row in self.null_rows)]
            console.print(_table(heads, list(self._null_cells())))
        for note in self._remarks():
            console.print(note, markup=False, highlight=False, soft_wrap=True)

    def _sides(self) -> list[str]:
        told = zip("AB", (self.first, self.second), strict=True)
        return [f"{name}: {side.row} ({side.path}: {side.subject})" for name, side in told]

    def _metrics(self) -> list[Metric]:
        return [metric for metric in METRICS if metric.key in self.differences]

    def _rows(self) -> Iterator[list[str]]:
        for metric in self._metrics():
            found, decimals = self.differences[metric.key], metric.decimals
            ends = (found.difference.low, found.difference.high)
            yield [
                metric.title,
                f"{found.first:.{decimals}f}",
                f"{found.second:.{decimals}f}",
                _signed(found.difference.value, decimals),
                " to ".join(_signed(end, decimals) for end in ends if end is not None) or "-",
                f"{found.p:.4f}",
                f"{found.p_holm:.4f}",
                _higher(found),
            ]

    def _null_cells(self) -> Iterator[list[str]]:
        for metric in self._metrics():
            figures = [row.figures.get(metric.key) for row in self.null_rows]
            cells = [f"{figure.value:.{metric.decimals}f}" if figure else "-" for figure in figures]
            yield [metric.title, *cells]

    def _remarks(self) -> list[str]:
        counted = (
            f"{self.contexts:,} contexts of {self.dialogues:,} dialogues, "
            f"{self.replies_per_context} replies to each; {self._tried()}, seed {self.seed}"
        )
        missing = [
            f"not compared: {', '.join(_titles(each.figures))}: {each.why}"
            for each in self.not_compared
        ]
        return [counted, *self._yardsticks(), _HOW, *missing, *self.notes]

    def _tried(self) -> str:
        if self.is_exact:
            return f"all {self.exchanges:,} exchanges there are, so p is exact"
        return f"{self.exchanges:,} random exchanges"

    def _yardsticks(self) -> list[str]:
        """What both were measured with."""
        told = (
            ("relevance: classifier", self.judge),
            ("UniKL: word frequencies", self.corpus),
            ("LM nats: language model", self.language_model),
        )
        said = "; ".join(f"{name} {which}" for name, which in told if which is not None)
        return [f"{said}, of both"] if said else []


def side_of(path: Path, report: Report) -> Side:
    """The first row of a report, whose replies lie beside it."""
    row = report.rows[0]
    return Side(path=str(path), subject=report.subject, row=row.name, figures=row.figures)


def null_rows_of(report: Report) -> tuple[NullRow, ...]:
    """The rows of a report that are no system, on all pairs: rows on subsets are passed over."""
    split = report.rows[0].signature.split
    return tuple(
        NullRow(name=row.name, role=row.role, figures=row.figures)
        for row in report.rows
        if row.role is not Role.SYSTEM and row.signature.split == split
    )


def _titles(keys: Sequence[str]) -> list[str]:
    return [metric.title for metric in METRICS if metric.key in keys]


def _higher(found: Difference) -> str:
    if found.p_holm >= _ALPHA:
        return "-"
    return "B" if found.difference.value > 0 else "A"


def _signed(value: float, decimals: int) -> str:
    return f"{value:+.{decimals}f}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, padding: int = 1) -> Table:
    """One that fits 80 columns, where many long cells ask for less padding."""
    table = Table(box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False, padding=(0, padding))
    table.add_column(heads[0], no_wrap=True)
    for head in heads[1:]:
        table.add_column(head, justify="right", no_wrap=heads is _HEADS)
    for row in rows:
        table.add_row(*row)
    return table


def _markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [heads, ["---"] * len(heads), *rows]
    return [f"| {' | '.join(cells)} |" for cells in lines]
