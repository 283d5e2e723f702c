"""A line per row on the screen: what it is at, and how far."""

from contextlib import AbstractContextManager
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


class Board(AbstractContextManager["Board"]):
    """Lines that change in place; without a terminal, a plain line for each change of ``tell``."""

    def __init__(self, console: Console, names: list[str]) -> None:
        """A waiting line for each name."""
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TimeElapsedColumn(),
            TextColumn("{task.fields[told]}", markup=False),
            console=console,
            disable=not console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {
            name: self._progress.add_task(name, total=1, start=False, told="waiting")
            for name in names
        }

    def __enter__(self) -> "Board":
        """Start drawing."""
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Draw for the last time."""
        self._progress.stop()

    def tell(self, name: str, text: str) -> None:
        """A row has come to something new."""
        self._progress.start_task(self._tasks[name])
        self._progress.update(self._tasks[name], told=text)
        if not self._console.is_terminal:
            self._console.print(f"{name}: {text}", markup=False, highlight=False, soft_wrap=True)

    def advance(self, name: str, done: float, total: float, text: str) -> None:
        """A row has come further in the same thing."""
        self._progress.update(self._tasks[name], completed=done, total=total, told=text)

    def close(self, name: str, text: str) -> None:
        """A row is over, for good or ill."""
        self.tell(name, text)
        self._progress.stop_task(self._tasks[name])
