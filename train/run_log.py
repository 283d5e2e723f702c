"""What a person sees of a run and what is kept of it: progress bar, JSONL, TensorBoard."""

import json
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from torch.utils.tensorboard import SummaryWriter

LOG = "log.jsonl"


class RunLog:
    """Progress on the terminal, one JSON object a line in ``log.jsonl``, TensorBoard events.

    A silent log (ranks above zero) writes nothing.
    """

    def __init__(self, output: Path, *, planned_steps: int, silent: bool = False) -> None:
        """Open the log of a run; an earlier log there is continued."""
        self.console = Console(stderr=True, quiet=silent)
        self._silent = silent
        self._progress = Progress(
            TextColumn("[bold]epoch {task.fields[epoch]}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[losses]}"),
            TimeRemainingColumn(),
            console=self.console,
            disable=silent,
        )
        self._task = self._progress.add_task("", total=planned_steps, epoch="-", losses="")
        self._board = None if silent else SummaryWriter(str(output / "tensorboard"))
        self._lines = None if silent else (output / LOG).open("a", encoding="utf-8")

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
        """Stop the bar and close the files."""
        self._progress.stop()
        if self._board:
            self._board.close()
        if self._lines:
            self._lines.close()

    def advance(self, step: int, epoch: str, figures: dict[str, float], rate: float) -> None:
        """Show where the run stands: running means of the losses, pairs per second."""
        losses = "  ".join(f"{name} {value:.3f}" for name, value in figures.items())
        self._progress.update(
            self._task, completed=step, epoch=epoch, losses=f"{losses}  {rate:,.0f} pairs/s"
        )

    def record(self, kind: str, step: int, figures: dict[str, float], **more: object) -> None:
        """Keep one line of figures under ``kind`` ("train", "validation")."""
        if self._silent or self._board is None or self._lines is None:
            return
        self._lines.write(json.dumps({"kind": kind, "step": step, **figures, **more}) + "\n")
        self._lines.flush()
        for name, value in figures.items():
            self._board.add_scalar(f"{kind}/{name}", value, step)

    def say(self, text: str) -> None:
        """One line above the bar."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def warn(self, text: str) -> None:
        """One line above the bar that stands out."""
        self.console.print(f"warning: {text}", style="bold yellow", markup=False, soft_wrap=True)
