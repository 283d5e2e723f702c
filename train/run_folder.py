"""The folder of a run: what lies in it under which name, and that no run overwrites another."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from dialog_service.checkpoint import BEST
from dialog_service.errors import ConfigError
from train.config import RunConfig
from train.overrides import checked


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Names within ``path``.

    ::

        run.json         the config as asked for, which --resume continues
        resolved.json    the same made concrete: vocabulary size, weights in nats per example
        best/            the best checkpoint so far, or the last, as the config says: to serve
        training/        the state to continue from
        log.jsonl        one line per epoch and kind;  tensorboard/  the same as curves
    """

    path: Path

    @property
    def config(self) -> Path:
        """The config as asked for."""
        return self.path / "run.json"

    @property
    def best(self) -> Path:
        """The checkpoint to serve."""
        return self.path / BEST

    @property
    def training(self) -> Path:
        """The state to continue from."""
        return self.path / "training"

    @property
    def log(self) -> Path:
        """Figures, one JSON object a line."""
        return self.path / "log.jsonl"

    @property
    def board(self) -> Path:
        """TensorBoard's events."""
        return self.path / "tensorboard"

    def refuse_overwriting(self) -> None:
        """Make sure that no run is there yet.

        Raises:
            ConfigError: one is.
        """
        for taken in (self.config, self.best, self.training):
            if taken.exists():
                raise ConfigError(
                    f"--output {self.path}: {taken.name} is there already; "
                    "add --resume to continue that run, or name another folder"
                )

    def begin(self, asked: RunConfig, resolved: RunConfig) -> None:
        """Make the folder and keep both configs.

        Raises:
            ConfigError: the place cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            _write_whole(self.path / "resolved.json", resolved.model_dump_json(indent=2) + "\n")
            _write_whole(self.config, asked.model_dump_json(indent=2) + "\n")
        except OSError as error:
            raise ConfigError(f"--output {self.path}: {error.strerror}") from error

    def asked_config(self) -> RunConfig:
        """The config that the run there was begun with.

        Raises:
            ConfigError: there is none, or none that can be read.
        """
        try:
            return checked(json.loads(self.config.read_text(encoding="utf-8")))
        except OSError as error:
            raise ConfigError(
                f"--resume: no run in {self.path} ({self.config.name}: {error.strerror})"
            ) from error
        except (ValueError, ConfigError) as error:
            raise ConfigError(f"--resume: {self.config}: not a run's config: {error}") from error


def _write_whole(path: Path, text: str) -> None:
    """Write a file that is at any moment absent, the old one or the new one."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with aside.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
