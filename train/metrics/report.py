"""The table: rows of figures, each with the signature that makes it reproducible.

Written as JSON, as Markdown and onto the terminal. Knows nothing of how figures come about.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import sacrebleu
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dialog_service.errors import ConfigError
from train.metrics.document import Document
from train.metrics.health import ModelHealth
from train.metrics.intervals import RESAMPLES, Estimate
from train.metrics.null_rows import Role
from train.metrics.probes import Probes
from train.metrics.scoring import METRICS, Metric
from train.metrics.variety import GROUPS

_INTERVALS = "± half the 95% interval over dialogues; its ends are in report.json"
_PRINTED_COLUMNS = 6
_NAME_WIDTH = 20  # a longer name is wrapped where the terminal is narrow
_ANY_WIDTH = 10_000
REPORT = "report.json"


class Setting(Document):
    """What all rows of a table share: the contexts and how they are counted.

    ``training`` is what the null rows draw from, which a checkpoint may have seen more of.
    """

    corpus: str
    split: str
    deduplication: str
    training: str
    seed: int
    tokeniser: str = "lower-case words, clitics and marks apart"
    bleu: str = f"sacrebleu-{sacrebleu.__version__},tok=none,smooth=none"
    intervals: str = f"95%,bootstrap-{RESAMPLES}(BLEU,lengths,means),jackknife-{GROUPS}(rest)"


class Signature(Setting):
    """All that must be the same for a row's figures to come out the same.

    ``judge`` is the fingerprint of who judged relevance, None where nobody did.
    """

    replies_per_context: int
    decoding: str
    contexts: int
    dialogues: int
    judge: str | None = None

    def __str__(self) -> str:
        """One line, as sacreBLEU writes its own."""
        return "|".join(f"{name}:{value}" for name, value in self if value is not None)


class Row(Document):
    """One system's figures by the keys of ``scoring.METRICS``; those it cannot have are absent."""

    name: str
    role: Role
    figures: dict[str, Estimate]
    contexts_short_of_replies: int
    signature: Signature


class Curve(Document):
    """One figure over a run; named ``train/...`` or ``validation/...`` as the run logged it."""

    name: str
    steps: tuple[int, ...]
    values: tuple[float, ...]


class Report(Document):
    """Everything one evaluation found; of a file of replies that is ``rows`` alone.

    ``command`` is the command line that makes it again.
    """

    subject: str
    notes: tuple[str, ...]
    rows: tuple[Row, ...]
    health: ModelHealth | None = None
    probes: Probes | None = None
    curves: tuple[Curve, ...] = ()
    command: str | None = None

    @classmethod
    def read(cls, path: Path) -> "Report":
        """Read what ``write`` wrote, from the file or from its folder.

        Raises:
            ConfigError: there is no report, or it is not one.
        """
        file = path / REPORT if path.is_dir() else path
        try:
            return cls.model_validate_json(file.read_bytes())
        except OSError as error:
            raise ConfigError(f"{file}: no report: {error.strerror}") from error
        except ValidationError as error:
            first = error.errors()[0]
            where = "".join(f"{key}: " for key in first["loc"][:1])
            raise ConfigError(f"{file}: not a report: {where}{first['msg']}") from error

    def write(self, directory: Path) -> None:
        """Write ``report.json`` and ``table.md`` into an existing directory."""
        (directory / REPORT).write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")
        (directory / "table.md").write_text(self.markdown(), encoding="utf-8")

    def markdown(self) -> str:
        """The table with its intervals, then notes and signatures."""
        metrics = self._metrics()
        lines = [
            f"| {self.subject} | {' | '.join(metric.title for metric in metrics)} |",
            f"|---|{'---|' * len(metrics)}",
        ]
        for row in self.rows:
            name = f"**{row.name}**" if row.role is Role.SYSTEM else row.name
            cells = [_cell(row.figures.get(m.key), m.decimals, " {}") for m in metrics]
            lines.append(f"| {name} | {' | '.join(cells)} |")
        lines += ["", *(f"- {note}" for note in (_INTERVALS, *self.notes))]
        lines += [f"- {row.name}: `{row.signature}`" for row in self.rows]
        return "\n".join(lines) + "\n"

    def show(self, console: Console) -> None:
        """Print the table in parts that fit a terminal, then notes and signatures."""
        for metrics in self._parts(console):
            console.print(self._table(metrics))
        for note in (_INTERVALS, *self.notes):
            console.print(note, markup=False, highlight=False, soft_wrap=True)
        for row in self.rows:
            line = f"{row.name}: {row.signature}"
            console.print(line, style="dim", markup=False, highlight=False, soft_wrap=True)

    def _parts(self, console: Console) -> Iterator[list[Metric]]:
        """The columns of each table: six, or as many as fit beside a readable name."""
        part: list[Metric] = []
        for metric in self._metrics():
            wider = [*part, metric]
            if part and (len(part) == _PRINTED_COLUMNS or not self._fits(wider, console)):
                yield part
                wider = [metric]
            part = wider
        yield part

    def _fits(self, metrics: Sequence[Metric], console: Console) -> bool:
        unbounded = console.options.update(max_width=_ANY_WIDTH)
        least: int = console.measure(self._table(metrics), options=unbounded).minimum
        return least <= console.width

    def _table(self, metrics: Sequence[Metric]) -> Table:
        """Some columns, each figure above its interval."""
        table = Table(title=escape(self.subject), title_justify="left")
        longest = max((len(row.name) for row in self.rows), default=0)
        table.add_column("", min_width=min(_NAME_WIDTH, longest))
        for metric in metrics:
            # A title's words would be taken for what may be broken, no_wrap or not.
            least = len(metric.title)
            table.add_column(metric.title, justify="right", no_wrap=True, min_width=least)
        for row in self.rows:
            cells = [
                _cell(row.figures.get(metric.key), metric.decimals, "\n[dim]{}[/dim]")
                for metric in metrics
            ]
            style = "bold" if row.role is Role.SYSTEM else None
            table.add_row(escape(row.name), *cells, style=style)
        return table

    def _metrics(self) -> list[Metric]:
        present = {key for row in self.rows for key in row.figures}
        return [metric for metric in METRICS if metric.key in present]


def _cell(estimate: Estimate | None, decimals: int, interval: str) -> str:
    """A figure and half its interval's width, which ``interval`` places; a dash for no figure."""
    if estimate is None:
        return "-"
    value = f"{estimate.value:.{decimals}f}"
    if estimate.low is None or estimate.high is None:
        return value
    return value + interval.format(f"±{(estimate.high - estimate.low) / 2:.{decimals}f}")
