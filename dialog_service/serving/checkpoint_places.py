"""Where the checkpoints to serve lie, whether one has changed, and how it becomes a model."""

import hashlib
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch

from dialog_service.checkpoint import (
    CONFIG,
    DEFAULT_CHECKPOINT,
    META,
    VOCABULARY,
    WEIGHTS,
    checkpoint_directory,
    load_checkpoint,
)
from dialog_service.errors import CheckpointError, ConfigError
from dialog_service.generation import Generator
from dialog_service.serving.registry import LoadedModel
from dialog_service.serving.settings import Settings
from dialog_service.serving.watched_file import file_stamp

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_OF_THE_FILE_SYSTEM = "lost+found"  # stands in the root of a volume

Stamp = tuple[tuple[int, ...], ...]
"""Tells two states of a checkpoint's files apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """A checkpoint directory; what ``name`` and ``version`` leave open its own meta says."""

    directory: Path
    name: str = ""
    version: str = ""

    def stamp(self) -> Stamp:
        """The state of its files: another one wherever one of them was written or replaced."""
        try:
            directory = checkpoint_directory(self.directory)
        except CheckpointError:
            return ((),)
        return tuple(file_stamp(directory / name) for name in (CONFIG, VOCABULARY, WEIGHTS, META))


def locations(settings: Settings) -> list[Location]:
    """Where the models to serve lie.

    Raises:
        ConfigError: the directory of models is missing, empty, or cannot be read.
    """
    if settings.model:
        return [Location(directory=settings.model)]
    if not settings.models:
        return [Location(directory=DEFAULT_CHECKPOINT)]
    root = settings.models
    if not os.path.isdir(root):
        raise ConfigError(f"{root}: no such directory of models")
    try:
        found = list(_below(root))
    except OSError as error:
        raise ConfigError(f"{error.filename}: {error.strerror}") from error
    if not found:
        raise ConfigError(f"{root}: no models there; expected NAME/VERSION/config.json")
    return found


def load_model(location: Location, settings: Settings) -> LoadedModel:
    """Load one checkpoint and generate once with it, so that the first caller does not wait.

    Raises:
        CheckpointError, ConfigError: as ``load_checkpoint`` and ``Generator``; or a name that no
            caller could ask for.
    """
    directory = checkpoint_directory(location.directory)
    checkpoint = load_checkpoint(directory)
    name = _name(location.name or checkpoint.meta.variant)
    version = _name(location.version or checkpoint.meta.version)
    generator = Generator(
        checkpoint,
        device=settings.device,
        precision=settings.precision,
        max_context_tokens=settings.max_input_tokens,
    )
    for reply_count in (1, settings.max_batch_sequences):
        generator.warm_up(reply_count)
    return LoadedModel(
        name=name,
        version=version,
        fingerprint=_fingerprint(directory, generator.limits.max_context_tokens),
        generator=generator,
    )


def loading_thread() -> ThreadPoolExecutor:
    """One thread that loads, on one core, so that another may generate on all of them.

    Every thread that has run torch on several cores keeps helpers of its own, and where those are
    more than the cores, OpenMP lets them all sleep between two products: on two cores replies then
    take two to three times as long. The number that torch keeps for new threads stays.
    """
    cores = torch.get_num_threads()
    thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="load")
    thread.submit(torch.get_num_threads).result()  # else torch would set the number once more
    thread.submit(torch.set_num_threads, 1).result()
    torch.set_num_threads(cores)
    return thread


def _fingerprint(directory: Path, max_context_tokens: int) -> str:
    """Digest of what decides a model's replies, 16 hexadecimal digits."""
    digest = hashlib.sha256(str(max_context_tokens).encode())
    for name in (CONFIG, VOCABULARY, WEIGHTS):
        digest.update(hashlib.sha256((directory / name).read_bytes()).digest())
    return digest.hexdigest()[:16]


def _below(root: Path) -> Iterator[Location]:
    for name in _subdirectories(root):
        for version in _subdirectories(name):
            yield Location(directory=version, name=name.name, version=version.name)


def _subdirectories(directory: Path) -> list[Path]:
    """Those that are not hidden (as checkpoints being written are), by name."""
    try:
        with os.scandir(directory) as entries:
            found = [entry.name for entry in entries if entry.is_dir()]
    except FileNotFoundError:  # removed just now
        return []
    kept = [name for name in found if not name.startswith(".") and name != _OF_THE_FILE_SYSTEM]
    return [directory / name for name in sorted(kept)]


def _name(name: str) -> str:
    """The name itself.

    Raises:
        ConfigError: it cannot stand in "models/{name}/versions/{version}".
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{name!r} cannot be a model's name or version: letters, digits, . _ -")
    return name
