"""What was asked for, and the command lines it comes to."""

import hashlib
import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path

from dialog_service.errors import ConfigError
from train.config import RunConfig
from train.data.pairs import PairMode
from train.experiments.experiment import Experiment, Section, TableRow
from train.experiments.row_folder import RowFolder
from train.overrides import overridden
from train.presets import preset_named
from train.variants import VARIANTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where everything happens: nothing here changes what a row is, only where and how fast."""

    output: Path
    data_dir: Path | None
    device: str = "auto"
    precision: str = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One experiment as asked for; ``assignments`` go to every row, before the row's own."""

    experiment: Experiment
    rows: tuple[TableRow, ...]
    seeds: tuple[int, ...]
    preset: str
    place: Place
    pair_mode: PairMode | None = None
    assignments: tuple[str, ...] = ()
    evaluation_flags: tuple[str, ...] = ()

    def runs(self) -> list["Run"]:
        """Every row with the first seed, then every row with the next one."""
        return [Run(self, row, seed) for seed in self.seeds for row in self.rows]


@dataclass(frozen=True, slots=True)
class Run:
    """One row with one seed."""

    request: Request
    row: TableRow
    seed: int

    @property
    def name(self) -> str:
        """Names its folder and its line on the screen."""
        return f"{self.row.key}-seed{self.seed}"

    @property
    def folder(self) -> RowFolder:
        """Where it lies."""
        return RowFolder(self.request.place.output / self.name)

    @property
    def asked(self) -> tuple[str, ...]:
        """The words that say what is trained: those that a finished row must have been begun with.

        Where it is trained (device, precision, place of the corpus) is not among them.
        """
        request = self.request
        assignments = [*_pair_mode(request), *request.assignments, *self.row.assignments]
        return (
            *(self.row.program, *self.row.flags),
            *("--corpus", request.experiment.corpus, "--preset", request.preset),
            *("--seed", str(self.seed)),
            *_sets(assignments),
        )

    @property
    def kind(self) -> str:
        """Names what rows have in common that train equally fast: all but seed and own flags."""
        request = self.request
        words = (
            *(request.preset, request.experiment.corpus, str(request.pair_mode)),
            *(request.place.device, request.place.precision, *request.assignments),
            *self.row.assignments,
        )
        return f"{self.row.variant}-{hashlib.sha256(' '.join(words).encode()).hexdigest()[:8]}"

    def training(self, output: Path, *more: str) -> list[str]:
        """The command that trains it into ``output``."""
        program, *flags = self.asked
        return [
            *(sys.executable, "-m", program, *flags, *_where(self.request.place), *more),
            *("--output", str(output)),
        ]

    def evaluation_asked(self, section: Section) -> tuple[str, ...]:
        """The words that say how it is evaluated."""
        mode = self.request.pair_mode
        return (
            *("--corpus", self.request.experiment.corpus, "--split", section.split),
            *(("--pair-mode", str(mode)) if mode else ()),
            *section.flags,
            *self.request.evaluation_flags,
        )

    def evaluation(self, section: Section) -> list[str]:
        """The command that evaluates it on a section's split."""
        return [
            *(sys.executable, "-m", "train.evaluate", str(self.folder.best)),
            *self.evaluation_asked(section),
            *_where(self.request.place),
            *("--output", str(self.folder.evaluation(section.split))),
        ]

    def config(self) -> RunConfig:
        """The config that its training command comes to, without a time budget's epochs.

        Raises:
            ConfigError: an unknown preset, or a ``--set`` that does not fit; names the row.
        """
        request, row = self.request, self.row
        if row.variant not in VARIANTS or importlib.util.find_spec(row.program) is None:
            raise ConfigError(f"--rows {row.key}: there is no {row.program} here")
        assignments = [*_pair_mode(request), *request.assignments, *row.assignments]
        config = VARIANTS[row.variant](preset_named(request.preset))
        try:
            return overridden(config, [f"data.corpus={request.experiment.corpus}", *assignments])
        except ConfigError as error:
            raise ConfigError(f"row {row.key}: {error}") from error

    def fingerprint(self) -> str:
        """Of the whole config: it changes where a default does, though the words stay the same."""
        return hashlib.sha256(self.config().model_dump_json().encode()).hexdigest()[:16]

    def is_as_asked(self) -> bool:
        """Whether what was begun in the folder, if anything was, is this."""
        record = self.folder.record()
        return record is None or (
            record.arguments == self.asked and record.config in ("", self.fingerprint())
        )

    def refuse_other_values(self) -> None:
        """Make sure that a training begun in the folder is this one.

        Raises:
            ConfigError: it was begun with other values.
        """
        record = self.folder.record()
        if record is None or self.is_as_asked():
            return
        begun = (
            f"begun as '{' '.join(record.arguments)}', not '{' '.join(self.asked)}'"
            if record.arguments != self.asked
            else f"begun by a version with other defaults: see its {self.folder.config.name}"
        )
        raise ConfigError(
            f"--output {self.request.place.output}: {self.name} was {begun}; name another folder"
        )


def _pair_mode(request: Request) -> list[str]:
    return [f"data.examples.pair_mode={request.pair_mode}"] if request.pair_mode else []


def _sets(assignments: list[str]) -> list[str]:
    return [flag for assignment in assignments for flag in ("--set", assignment)]


def _where(place: Place) -> list[str]:
    data_dir = ["--data-dir", str(place.data_dir)] if place.data_dir else []
    return [*data_dir, "--device", place.device, "--precision", place.precision]
