"""Where a checkpoint's replies come from: its bytes, what runs it, and the run that made it."""

import hashlib
from pathlib import Path

import torch

from dialog_service.checkpoint import CONFIG, VOCABULARY, WEIGHTS, checkpoint_directory
from dialog_service.errors import ConfigError
from dialog_service.generation import Generator, resolve_precision
from train.config import RunConfig
from train.data.pairs import PairMode
from train.evaluate.options import CheckpointSubject
from train.run_folder import RunFolder


def numerics(subject: CheckpointSubject, generator: Generator) -> str:
    """Device and precision in two words."""
    return f"{generator.device.type} {resolve_precision(subject.precision, generator.device)}"


def origin(subject: CheckpointSubject, generator: Generator) -> str:
    """All that fixes what a checkpoint says, but for the decoding: one line."""
    digest = hashlib.sha256()
    directory = checkpoint_directory(subject.directory)
    for name in (CONFIG, VOCABULARY, WEIGHTS):
        digest.update((directory / name).read_bytes())
    return f"{digest.hexdigest()} {numerics(subject, generator)} torch {torch.__version__}"


def trained_pair_mode(subject: CheckpointSubject) -> PairMode | None:
    """How the corpus was paired when the checkpoint was trained on it.

    None is the corpus's own way, or not known: there is no run's config beside the checkpoint, or
    it is of another corpus.
    """
    config = _run_config(subject.directory)
    if config is None or config.data.corpus != subject.source.corpus:
        return None
    return config.data.examples.pair_mode


def _run_config(directory: Path) -> RunConfig | None:
    folder = RunFolder(checkpoint_directory(directory).resolve().parent)
    if not folder.config.is_file():
        return None
    try:
        return folder.asked_config()
    except ConfigError:
        return None  # of another version of this program: as good as absent
