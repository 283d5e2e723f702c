"""The folder of one row and seed: the training run, its evaluations, and what was asked of it."""

import hashlib
import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from dialog_service.checkpoint import WEIGHTS, recovered
from dialog_service.errors import CheckpointError
from train.experiments.machine import Machine
from train.run_folder import RunFolder
from train.state import STATE, load_state

_Document = TypeVar("_Document", bound=BaseModel)


class RowRecord(BaseModel):
    """``row.json``: how the training was begun, and every machine that it went on on.

    ``epochs`` are those a time budget allowed; None is as many as the preset says. ``config`` is
    ``Run.fingerprint``; empty is that of an earlier version.
    """

    model_config = ConfigDict(frozen=True)

    arguments: tuple[str, ...]
    epochs: int | None
    machines: tuple[Machine, ...]
    config: str = ""


class EvaluationRecord(BaseModel):
    """``done.json`` of an evaluation: of which checkpoint it is, how it was asked for and took."""

    model_config = ConfigDict(frozen=True)

    arguments: tuple[str, ...]
    checkpoint: str
    seconds: float


class RowFolder(RunFolder):
    """Names within a run's folder that are there only for a row of a table.

    ::

        row.json, train.log          how training was begun; what it said
        <split>/report.json ...      an evaluation's output, with done.json once it is whole
    """

    @property
    def record_path(self) -> Path:
        """How training was begun."""
        return self.path / "row.json"

    def evaluation(self, split: str) -> Path:
        """The folder of an evaluation."""
        return self.path / split

    def record(self) -> RowRecord | None:
        """How the training here was begun, if one was."""
        return _document(self.record_path, RowRecord)

    def keep_record(self, record: RowRecord) -> None:
        """Write it, making the folder if need be."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_whole(self.record_path, record.model_dump_json(indent=2) + "\n")

    def has_state(self) -> bool:
        """Whether there is a training to resume, finished or not."""
        return (recovered(self.training) / STATE).is_file()

    def is_trained(self) -> bool:
        """Whether the training here came to its planned end."""
        try:
            return self.has_state() and load_state(self.training).position.is_finished
        except CheckpointError:
            return False

    def forget_false_start(self) -> None:
        """Take out what a run leaves that was stopped before it had anything to resume.

        A folder with a checkpoint is no false start: its configs stay.
        """
        if self.best.exists():
            return
        for path in (self.config, self.path / "resolved.json"):
            path.unlink(missing_ok=True)

    def is_evaluated(self, split: str, arguments: tuple[str, ...]) -> bool:
        """Whether the report there is of the checkpoint here, asked for in the same words."""
        folder = self.evaluation(split)
        done = _document(folder / "done.json", EvaluationRecord)
        if done is None or not (folder / "report.json").is_file():
            return False
        return done.arguments == arguments and done.checkpoint == self.checkpoint()

    def forget_evaluation(self, split: str) -> None:
        """Take the mark off before another evaluation goes into the same folder."""
        (self.evaluation(split) / "done.json").unlink(missing_ok=True)

    def keep_evaluation(self, split: str, arguments: tuple[str, ...], seconds: float) -> None:
        """Mark an evaluation as whole."""
        done = EvaluationRecord(
            arguments=arguments, checkpoint=self.checkpoint(), seconds=round(seconds, 1)
        )
        write_whole(self.evaluation(split) / "done.json", done.model_dump_json(indent=2) + "\n")

    def evaluation_seconds(self, split: str) -> float:
        """How long an evaluation took; 0 where there is none."""
        done = _document(self.evaluation(split) / "done.json", EvaluationRecord)
        return done.seconds if done else 0.0

    def checkpoint(self) -> str:
        """SHA-256 of the best checkpoint's weights; empty where there is none."""
        try:
            with (self.best / WEIGHTS).open("rb") as weights:
                return hashlib.file_digest(weights, "sha256").hexdigest()
        except OSError:
            return ""

    def epochs_logged(self) -> list[dict[str, Any]]:
        """The validation lines of the log, one an epoch; a line cut short is left out."""
        try:
            lines = self.log.read_text(encoding="utf-8").splitlines()
        except OSError:
            return []
        return [line for line in map(_parsed, lines) if line.get("kind") == "validation"]


def write_whole(path: Path, text: str) -> None:
    """Write a file so that it is never seen half written."""
    aside = path.with_name(f".{path.name}.partial")
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)


def _document(path: Path, kind: type[_Document]) -> _Document | None:
    """A small document, or None where there is none that can be read."""
    try:
        return kind.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError):
        return None


def _parsed(line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
