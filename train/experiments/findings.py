"""What a finished row came to, read from the files of its folder and from nothing else.

Reports are read leniently: a figure that one does not have is left out.
"""

import json
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from dialog_service.checkpoint import META
from dialog_service.errors import CheckpointError
from train.experiments.experiment import Decoding, Section
from train.experiments.machine import Machine
from train.experiments.request import Run
from train.metrics.intervals import Estimate
from train.presets import preset_named
from train.variants import VARIANTS

_ENDINGS = {
    Decoding.DRAWN: (", z drawn, greedy tokens",),
    Decoding.GREEDY: (", z = mean, greedy tokens", ", greedy"),
}


class _Lenient(BaseModel):
    """Part of a document written elsewhere; what is not needed here is passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class ReportSignature(_Lenient):
    """Which pairs a row is on: its split, and the subset of it, if it is on one."""

    split: str = ""


class ReportRow(_Lenient):
    """A row of ``report.json``."""

    name: str
    role: str
    figures: dict[str, Estimate]
    signature: ReportSignature = ReportSignature()


class ReportHealth(_Lenient):
    """The figures of the model itself."""

    figures: dict[str, Estimate] = {}


class EvaluationReport(_Lenient):
    """What is read of ``report.json``."""

    rows: tuple[ReportRow, ...]
    health: ReportHealth | None = None

    def decoded(self, decoding: Decoding) -> ReportRow | None:
        """The system's row of one way of decoding; the first of its rows is its own sampling."""
        systems = [row for row in self.rows if row.role == "system"]
        if decoding is Decoding.OWN:
            return systems[0] if systems else None
        fitting = (row for row in systems if row.name.endswith(_ENDINGS[decoding]))
        return next(fitting, None)

    def others(self) -> list[ReportRow]:
        """The rows to judge by, human and null, on all pairs: rows on subsets are passed over."""
        return [
            row
            for row in self.rows
            if row.role != "system" and row.signature == self.rows[0].signature
        ]


class Training(BaseModel):
    """How one row and seed was trained.

    ``pairs_per_second`` is over the whole training, validation and saving included;
    ``machines`` has several entries where it was continued on another.
    """

    model_config = ConfigDict(frozen=True)

    row: str
    seed: int
    preset: str
    epochs: int
    planned_epochs: int
    preset_epochs: int
    best_epoch: int
    minutes: float
    evaluation_minutes: float
    pairs_per_second: float
    machines: tuple[Machine, ...]
    commit: str
    config: str

    @property
    def epochs_told(self) -> str:
        """The epochs, and of how many where they are fewer than the preset has."""
        if self.epochs < self.planned_epochs:
            return f"{self.epochs}, stopped early of {self.planned_epochs}"
        if self.epochs < self.preset_epochs:
            return f"{self.epochs} of preset {self.preset}'s {self.preset_epochs}"
        return str(self.epochs)


def read_training(run: Run) -> Training:
    """How a finished run was trained.

    Raises:
        CheckpointError: a file of its folder is missing or cannot be read.
    """
    folder = run.folder
    config, meta = _json(run, "resolved.json"), _json(run, f"best/{META}")
    logged, record = folder.epochs_logged(), folder.record()
    if not logged:
        raise CheckpointError(f"{folder.log}: no epoch in it")
    last = logged[-1]
    optimisation = config["optimisation"]
    seconds = max(0.1, last["elapsed_seconds"])
    sections = run.request.experiment.sections
    preset = VARIANTS[config["variant"]](preset_named(config["preset"]))
    return Training(
        row=run.row.key,
        seed=config["seed"],
        preset=config["preset"],
        epochs=last["epoch"],
        planned_epochs=optimisation["epochs"],
        preset_epochs=preset.optimisation.epochs,
        best_epoch=int(meta["metrics"]["epoch"]),
        minutes=seconds / 60,
        evaluation_minutes=sum(folder.evaluation_seconds(s.split) for s in sections) / 60,
        pairs_per_second=last["step"] * optimisation["batch_size"] / seconds,
        machines=record.machines if record else (),
        commit=meta["commit"],
        config=f"{run.name}/resolved.json",
    )


def read_report(run: Run, section: Section) -> EvaluationReport:
    """The evaluation of a finished run on a section's split.

    Raises:
        CheckpointError: it is missing or cannot be read.
    """
    path = run.folder.evaluation(section.split) / "report.json"
    try:
        return EvaluationReport.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError) as error:
        raise CheckpointError(f"{path}: {str(error).splitlines()[0]}") from error


def _json(run: Run, name: str) -> Any:
    path = run.folder.path / name
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: {error}") from error
