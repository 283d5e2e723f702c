"""A checkpoint to be judged, loaded: its bytes, what runs it, the run that made it, its rows."""

import hashlib
from functools import cached_property
from pathlib import Path

import torch
from pydantic import JsonValue

from dialog_service.checkpoint import CONFIG, VOCABULARY, WEIGHTS, checkpoint_directory
from dialog_service.errors import ConfigError
from dialog_service.generation import Generator, resolve_device, resolve_float_precision
from train.config import RunConfig
from train.data.pairs import PairMode
from train.evaluate.decodings import GeneratedReplies, decodings, overridden
from train.evaluate.options import CheckpointSubject
from train.run_folder import RunFolder


class LoadedSubject:
    """A checkpoint that can answer; ``str`` of it names it in the report."""

    def __init__(self, subject: CheckpointSubject) -> None:
        """Load it.

        Raises:
            UserError: the checkpoint, the device, the precision or a sampling value.
        """
        self.subject = subject
        # Integers are for speed: unless they are asked for, figures are of floating numbers.
        precision = subject.precision
        if precision == "auto":
            precision = resolve_float_precision("auto", resolve_device(subject.device))
        self.generator = Generator.load(
            subject.directory, device=subject.device, precision=precision
        )
        # Its own way to reply, with what was asked instead.
        self.sampling = overridden(self.generator.defaults, subject.override)

    def __str__(self) -> str:
        """One line on where it comes from and what runs it."""
        meta = self.generator.meta
        return (
            f"{meta.variant} {meta.preset}, version {meta.version}, seed {meta.seed}, "
            f"{meta.commit}, {self._numerics}"
        )

    def systems(self, contexts: int, count: int, seed: int) -> tuple[GeneratedReplies, ...]:
        """Its rows, a decoding each.

        Args:
            contexts: how many will be answered.
            count: replies per context.
            seed: of the draws.

        Raises:
            ConfigError: a sampling value out of its range.
        """
        ways = decodings(
            self.generator,
            self.subject.override,
            selection=self.subject.selection,
            reply_count=count,
            contexts=contexts,
        )
        return tuple(GeneratedReplies(self.generator, way, seed=seed) for way in ways)

    @cached_property
    def origin(self) -> str:
        """All that fixes what it says, but for the decoding."""
        digest = hashlib.sha256()
        directory = checkpoint_directory(self.subject.directory)
        for name in (CONFIG, VOCABULARY, WEIGHTS):
            digest.update((directory / name).read_bytes())
        return f"{digest.hexdigest()} {self._numerics} torch {torch.__version__}"

    @property
    def trained_pair_mode(self) -> PairMode | None:
        """How the corpus was paired when the checkpoint was trained on it.

        None is the corpus's own way, or not known: there is no run's config beside the
        checkpoint, or it is of another corpus.
        """
        config = _run_config(self.subject.directory)
        if config is None or config.data.corpus != self.subject.source.corpus:
            return None
        return config.data.examples.pair_mode

    @property
    def has_seen_leaks(self) -> bool:
        """Whether its training kept dialogues that repeat an evaluation one of the corpus."""
        data = _at(self.generator.meta.run, "data")
        is_of_corpus = _at(data, "corpus") == self.subject.source.corpus
        return is_of_corpus and _at(_at(data, "examples"), "keep_leaks") is True

    @property
    def _numerics(self) -> str:
        return f"{self.generator.device.type} {self.generator.precision}"


def _at(document: JsonValue, key: str) -> JsonValue:
    """What a checkpoint says of its run, of whatever version of this program; None is nothing."""
    return document.get(key) if isinstance(document, dict) else None


def _run_config(directory: Path) -> RunConfig | None:
    folder = RunFolder(checkpoint_directory(directory).resolve().parent)
    if not folder.config.is_file():
        return None
    try:
        return folder.asked_config()
    except ConfigError:
        return None  # of another version of this program: as good as absent
