"""The flags of an evaluation, and what they ask for."""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from dialog_service.errors import ConfigError
from dialog_service.selection import DEFAULT_CANDIDATES, DEFAULT_RELEVANCE_WEIGHT
from train.data.corpora import CorpusSource
from train.data.pairs import PairMode
from train.evaluate.cases import EvaluationPart, EvaluationSplit
from train.evaluate.options import (
    AskedSelection,
    CheckpointSubject,
    Extras,
    FileSubject,
    Options,
    Override,
)

_MOST_REPLIES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """What the command line takes."""

    checkpoint: Annotated[
        Path | None,
        typer.Argument(help="A checkpoint directory, or a run's folder.", show_default=False),
    ] = None
    replies_file: Annotated[
        Path | None,
        typer.Option(help="Replies of any system as JSON lines, instead of a checkpoint."),
    ] = None
    corpus: Annotated[
        str | None,
        typer.Option(
            help="dailydialog, switchboard or jsonl.",
            show_default="dailydialog, or none with --replies-file",
        ),
    ] = None
    data_dir: Annotated[
        Path | None, typer.Option(help="Where the corpus is.", envvar="CORPORA_DIR")
    ] = None
    split: Annotated[
        EvaluationSplit | None,
        typer.Option(
            help="Pairs: the published list's; those not in training; of these, those without a "
            "near-duplicate in training; all.",
            show_default="deduplicated",
        ),
    ] = None
    part: Annotated[
        EvaluationPart | None,
        typer.Option(
            help="Choose decodings on validation pairs, not on test pairs.", show_default="test"
        ),
    ] = None
    pair_mode: Annotated[
        PairMode | None,
        typer.Option(
            help="What answers what in switchboard: turns, or segments as its papers have it.",
            show_default="as the checkpoint was trained, else turns",
        ),
    ] = None
    replies: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=_MOST_REPLIES,
            help="Replies per context. The first one counts for BLEU, Dist and entropy.",
            show_default="1, or as many as the file has",
        ),
    ] = None
    seed: Annotated[int, typer.Option(min=0, help="Of draws and resampling.")] = 0
    output: Annotated[
        Path | None,
        typer.Option(
            show_default="runs/evaluation-<time>",
            help="A folder; that of a stopped evaluation is gone on with.",
        ),
    ] = None
    temperature: Annotated[
        float | None, typer.Option(help="0 is greedy.", show_default="the checkpoint's own")
    ] = None
    top_p: Annotated[float | None, typer.Option(show_default="the checkpoint's own")] = None
    top_k: Annotated[
        int | None, typer.Option(help="0 is all.", show_default="the checkpoint's own")
    ] = None
    latent_scale: Annotated[
        float | None,
        typer.Option(
            help="Multiplies the deviation of z; 0 is its mean.",
            show_default="the checkpoint's own",
        ),
    ] = None
    candidates: Annotated[
        int | None,
        typer.Option(
            help="Of the row that selects: how many replies it selects from. A checkpoint without "
            "a matcher gets that row, by likelihood, where this or the next is given.",
            show_default=f"{DEFAULT_CANDIDATES}, or --replies if that is more",
        ),
    ] = None
    relevance_weight: Annotated[
        float | None,
        typer.Option(
            help="Of the row that selects: 1 looks at relevance alone, 0 at difference alone.",
            show_default=f"{DEFAULT_RELEVANCE_WEIGHT:g}",
        ),
    ] = None
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 ...")] = "auto"
    precision: Annotated[str, typer.Option(help="auto (floating), fp32, bf16 or int8.")] = "auto"
    batch_size: Annotated[int, typer.Option(min=1, help="Contexts answered at once.")] = 64
    bm25: Annotated[bool, typer.Option(help="The BM25 row.")] = True
    relevance: Annotated[
        bool, typer.Option(help="Relevance, judged by a classifier trained on the spot.")
    ] = True
    health: Annotated[bool, typer.Option(help="Likelihood and latent of a checkpoint.")] = True
    probes: Annotated[
        bool, typer.Option(help="A checkpoint's other decodings, samples and interpolations.")
    ] = True
    keep_leaks: Annotated[
        bool,
        typer.Option(
            "--keep-leaks",
            help="Null rows also draw from training dialogues that repeat an evaluation dialogue.",
        ),
    ] = False

    def subject(self) -> CheckpointSubject | FileSubject:
        """What is judged.

        Raises:
            ConfigError: not one of the two, or a flag of the other.
        """
        if self.checkpoint is not None and self.replies_file is None:
            return self._checkpoint(self.checkpoint)
        if self.replies_file is not None and self.checkpoint is None:
            return self._file(self.replies_file)
        raise ConfigError("give either a checkpoint directory or --replies-file")

    def options(self, output: Path) -> Options:
        """How it is judged, and the folder for the report, which there is from now on.

        Raises:
            ConfigError: the folder cannot be made, or flags do not go together.
        """
        pair_mode = self.checked_pair_mode()
        _make(output)
        return Options(
            output=output,
            reply_count=self.replies,
            seed=self.seed,
            batch_size=self.batch_size,
            keep_leaks=self.keep_leaks,
            pair_mode=pair_mode,
            extras=Extras(
                bm25=self.bm25, relevance=self.relevance, health=self.health, probes=self.probes
            ),
            command=shlex.join(["python", "-m", "train.evaluate", *sys.argv[1:]]),
        )

    def checked_pair_mode(self) -> PairMode | None:
        """Raises ConfigError where the corpus leaves no choice."""
        if self.pair_mode is not None and self.corpus != "switchboard":
            raise ConfigError("--pair-mode is for --corpus switchboard")
        return self.pair_mode

    def _checkpoint(self, directory: Path) -> CheckpointSubject:
        return CheckpointSubject(
            directory=directory,
            source=CorpusSource(corpus=self.corpus or "dailydialog", data_dir=self.data_dir),
            split=self.split or EvaluationSplit.DEDUPLICATED,
            part=self.part or EvaluationPart.TEST,
            override=self._override(),
            selection=self._checked_selection(),
            device=self.device,
            precision=self.precision,
        )

    def _file(self, path: Path) -> FileSubject:
        asks_of_model = (self._override(), self._selection()) != (Override(), AskedSelection())
        if self.split or self.part or asks_of_model:
            raise ConfigError(
                "--split, --part, --temperature, --top-p, --top-k, --latent-scale, --candidates "
                "and --relevance-weight are for a checkpoint; with --replies-file the replies are "
                "what they are"
            )
        source = CorpusSource(corpus=self.corpus, data_dir=self.data_dir) if self.corpus else None
        return FileSubject(path=path, source=source)

    def _override(self) -> Override:
        return Override(
            temperature=self.temperature,
            top_k=self.top_k,
            top_p=self.top_p,
            latent_scale=self.latent_scale,
        )

    def _selection(self) -> AskedSelection:
        return AskedSelection(
            candidate_count=self.candidates, relevance_weight=self.relevance_weight
        )

    def _checked_selection(self) -> AskedSelection:
        asked, least = self._selection(), self.replies or 1
        count, weight = asked.candidate_count, asked.relevance_weight
        if count is not None and not least <= count <= _MOST_REPLIES:
            limits = f"1 to {_MOST_REPLIES} and at least --replies"
            raise ConfigError(f"--candidates {count}: must be {limits}")
        if weight is not None and not 0 <= weight <= 1:
            raise ConfigError(f"--relevance-weight {weight}: must be 0 to 1")
        return asked


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--output {folder}: {error.strerror}") from error
