"""A table in a given time: how many epochs each row may have, from a short measurement of it.

Schedules are fractions of the planned steps, so a row planned for fewer epochs still completes
them; one stopped early would not.
"""

import math
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from train.experiments.children import Children
from train.experiments.request import Run
from train.experiments.row_folder import RowFolder, write_whole
from train.state import STATE, load_state

MEASURED_SECONDS = 20.0
BESIDE_TRAINING = 1.1  # validation, samples and checkpoints, as a factor on an epoch's steps
FIRST_EVALUATION_SECONDS = 180.0  # while none has been timed; at most half of a row's time


class Speed(BaseModel):
    """How fast a row trains here: seconds before its first step, steps a second after it."""

    model_config = ConfigDict(frozen=True)

    start_seconds: float
    steps_per_second: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Epochs for a row: those of its config, or fewer."""

    epochs: int
    planned_epochs: int
    is_short_of_time: bool = False

    @property
    def budgeted(self) -> int | None:
        """The epochs to ask for; None leaves the config's."""
        return self.epochs if self.epochs < self.planned_epochs else None


class Budget:
    """Minutes for all rows that are not finished, in equal shares of what is left.

    A row that ends early leaves its time to those after it; one that overruns takes from them.
    """

    def __init__(
        self, seconds: float, *, rows: int, jobs: int, now: Callable[[], float] = time.monotonic
    ) -> None:
        """The clock starts now."""
        self._now = now
        self._ends_at = now() + seconds
        self._rows_left = rows
        self._jobs = jobs
        self._lock = threading.Lock()

    def share(self) -> float:
        """Seconds a row that starts now may take."""
        with self._lock:
            left = max(0.0, self._ends_at - self._now())
            return left * min(1.0, self._jobs / max(1, self._rows_left))

    def row_ended(self) -> None:
        """One row less to share with."""
        with self._lock:
            self._rows_left -= 1


def planned(
    share: float, speed: Speed, *, steps_per_epoch: int, epochs: int, evaluation_seconds: float
) -> Plan:
    """The epochs that fit a share beside the start and the evaluation; at least one.

    Args:
        share: seconds for the row.
        speed: as measured.
        steps_per_epoch: of the row's config on its corpus.
        epochs: the config's, never exceeded.
        evaluation_seconds: what an evaluation took so far; 0 where none has been timed.
    """
    evaluation = evaluation_seconds or min(FIRST_EVALUATION_SECONDS, share / 2)
    epoch_seconds = BESIDE_TRAINING * steps_per_epoch / speed.steps_per_second
    fitting = math.floor((share - speed.start_seconds - evaluation) / epoch_seconds)
    return Plan(
        epochs=min(epochs, max(1, fitting)), planned_epochs=epochs, is_short_of_time=fitting < 1
    )


def measured_speed(run: Run, children: Children) -> Speed:
    """Train for some seconds in a folder beside the row's; what comes out is kept for all seeds.

    Raises:
        Stopped: a signal came meanwhile.
        CommandFailed: the training failed.
    """
    output = run.request.place.output
    kept = output / ".speed" / f"{run.kind}.json"
    if kept.is_file():
        return Speed.model_validate_json(kept.read_text(encoding="utf-8"))
    folder = RowFolder(output / ".speed" / run.name)
    shutil.rmtree(folder.path, ignore_errors=True)
    watch = _Watch(folder.training / STATE)
    children.run(run.training(folder.path), folder.path / "train.log", watch)
    position = load_state(folder.training).position
    speed = Speed(
        start_seconds=watch.start_seconds,
        steps_per_second=max(1, position.step) / max(0.001, position.elapsed_seconds),
    )
    write_whole(kept, speed.model_dump_json() + "\n")
    shutil.rmtree(folder.path, ignore_errors=True)
    return speed


class _Watch:
    """Says that it is enough once the run's first state is ``MEASURED_SECONDS`` old."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._began = time.monotonic()
        self.start_seconds = 0.0

    def __call__(self) -> bool:
        elapsed = time.monotonic() - self._began
        if not self.start_seconds and self._state.is_file():
            self.start_seconds = elapsed
        return bool(self.start_seconds) and elapsed - self.start_seconds >= MEASURED_SECONDS
