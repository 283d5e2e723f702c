"""What an evaluation is asked to do, free of the command line and of torch."""

from dataclasses import dataclass
from pathlib import Path

from train.data.corpora import CorpusSource
from train.evaluate.cases import EvaluationSplit


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """Sampling other than the checkpoint's own; None leaves it."""

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    latent_scale: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What every evaluation takes; ``reply_count`` None is as many as there are."""

    output: Path
    reply_count: int | None = None
    seed: int = 0
    batch_size: int = 64
    has_bm25: bool = True
    keep_leaks: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointSubject:
    """A checkpoint to be judged on a corpus."""

    directory: Path
    source: CorpusSource
    split: EvaluationSplit
    override: Override = Override()
    device: str = "auto"
    precision: str = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSubject:
    """Replies to be judged; the source, if any, lends its training pairs to the null rows."""

    path: Path
    source: CorpusSource | None = None
