"""What a person sees of a run and what is kept of it: progress bar, JSONL, TensorBoard."""

import json
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import TracebackType

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from dialog_service.errors import ConfigError
from train.board import Board
from train.run_folder import RunFolder
from train.validation import Validation

PLAIN_LINE_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LogStart:
    """Where a run stands when its log is opened: steps in all, epochs closed and steps in those."""

    planned_steps: int
    steps: int = 0
    closed_epochs: int = 0
    closed_steps: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Progressed:
    """Where a run stands now; ``figures`` are means since the epoch's start."""

    step: int
    epoch: str
    figures: dict[str, float]
    pairs_per_second: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochReport:
    """What an epoch came to; ``samples`` are a few replies to each of some posts."""

    step: int
    epoch: int
    epochs: int
    elapsed_seconds: float
    train: dict[str, float]
    validation: Validation
    is_best: bool
    samples: dict[str, list[str]]


class RunLog(AbstractContextManager["RunLog"]):
    """Progress on the terminal, one JSON object a line in ``log.jsonl``, TensorBoard events.

    Where there is no terminal, a plain line every half minute. A silent log (ranks above the
    first) writes nothing. What an earlier process logged of epochs that are now trained again is
    taken out, so that the log of a resumed run is that of an uninterrupted one.
    """

    def __init__(self, folder: RunFolder, start: LogStart, *, is_silent: bool = False) -> None:
        """Open the log of a run.

        Raises:
            ConfigError: it cannot be written.
        """
        self.console = Console(stderr=True, quiet=is_silent, emoji=False)
        self._planned = start.planned_steps
        self._is_silent = is_silent
        self._plain_line_at = -PLAIN_LINE_SECONDS
        self._progress = _Bar(
            TextColumn("[bold]epoch {task.fields[epoch]}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self._task = self._progress.add_task(
            "", total=start.planned_steps, completed=start.steps, epoch="-", rate=""
        )
        self._folder = folder
        if is_silent:
            return
        try:
            _keep_epochs(folder.log, start.closed_epochs)
            self._lines = folder.log.open("a", encoding="utf-8")
            self._board = Board(folder.board, first_step=start.closed_steps + 1)
        except OSError as error:
            raise self._refusal(error) from error

    def __enter__(self) -> "RunLog":
        """Start the bar."""
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the bar and close the files; a failure to close hides no earlier one."""
        self._progress.stop()
        if self._is_silent:
            return
        try:
            with self._lines, self._board:
                pass
        except OSError as failure:
            if error is None:
                raise self._refusal(failure) from failure

    def advance(self, now: Progressed) -> None:
        """Show where the run stands."""
        figures = _shown(now.figures)
        rate = f"{now.pairs_per_second:,.0f} pairs/s"
        self._progress.figures = figures
        self._progress.update(self._task, completed=now.step, epoch=now.epoch, rate=rate)
        if self.console.is_terminal or time.monotonic() - self._plain_line_at < PLAIN_LINE_SECONDS:
            return
        self._plain_line_at = time.monotonic()
        share = f"step {now.step:,} of {self._planned:,} ({now.step / self._planned:.0%})"
        self.say(f"epoch {now.epoch}  {share}  {figures}  {rate}{self._time_left()}")

    def _time_left(self) -> str:
        seconds = self._progress.tasks[0].time_remaining
        return "" if seconds is None else f"  {timedelta(seconds=int(seconds))} left"

    def close_epoch(self, report: EpochReport) -> None:
        """Keep and show what an epoch came to.

        Raises:
            ConfigError: the log cannot be written.
        """
        figures = report.validation.figures()
        more = {"elapsed_seconds": round(report.elapsed_seconds, 1), "samples": report.samples}
        try:
            self._record("train", report, report.train, {})
            self._record("validation", report, figures, more)
        except OSError as error:
            raise self._refusal(error) from error
        best = " (best)" if report.is_best else ""
        self.say(f"epoch {report.epoch}/{report.epochs}{best}: {_shown(figures)}")
        for post, replies in report.samples.items():
            self.say(f"    {post}  ->  {'  |  '.join(replies)}")
        if report.validation.is_latent_mute:
            self.warn(_mute_warning(report.validation))

    def _record(
        self, kind: str, report: EpochReport, figures: dict[str, float], more: dict[str, object]
    ) -> None:
        line = {"kind": kind, "step": report.step, "epoch": report.epoch, **figures, **more}
        self._lines.write(json.dumps(line) + "\n")
        self._lines.flush()
        curves = {f"{kind}/{name}": value for name, value in figures.items()}
        self._board.add(curves, report.step)

    def say(self, text: str) -> None:
        """One line above the bar."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def warn(self, text: str) -> None:
        """One line above the bar that stands out."""
        self.console.print(f"warning: {text}", style="bold yellow", markup=False, soft_wrap=True)

    def _refusal(self, error: OSError) -> ConfigError:
        return ConfigError(f"{self._folder.log}: cannot write the log: {error.strerror}")


class _Bar(Progress):
    """The bar, and the figures on a line of their own, where no terminal is too narrow for both."""

    figures = ""

    def get_renderables(self) -> Iterator[RenderableType]:
        """What is drawn again and again."""
        yield self.make_tasks_table(self.tasks)
        yield Text(self.figures, style="dim", no_wrap=True, overflow="ellipsis")


def _shown(figures: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.3f}" for name, value in figures.items())


def _keep_epochs(path: Path, closed: int) -> None:
    """Take out of a log the lines of later epochs, and one that a kill has cut short."""
    if not path.exists():
        return
    kept = [
        line for line in path.read_text(encoding="utf-8").splitlines() if _epoch(line) <= closed
    ]
    aside = path.with_name(f".{path.name}.kept")
    aside.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
    aside.replace(path)


def _epoch(line: str) -> float:
    try:
        return float(json.loads(line)["epoch"])
    except ValueError:
        return float("inf")


def _mute_warning(found: Validation) -> str:
    told = f"{found.active_units} active units, latent variance {found.latent_variance:.1e}"
    if found.posterior_scale > 0:
        told += f", at most {found.channel_nats:.2f} nats reach the decoder"
    advice = "let the terms beside reconstruction in later, or lower their weights"
    return f"the latent has stopped carrying the post: {told}; {advice}"
