"""What an evaluation is asked to do, free of the command line and of torch."""

from dataclasses import dataclass
from pathlib import Path

from train.data.corpora import CorpusSource
from train.data.pairs import PairMode
from train.evaluate.cases import EvaluationPart, EvaluationSplit


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """Sampling other than the checkpoint's own; None leaves it."""

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    latent_scale: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedSelection:
    """What the row that selects does otherwise than the service; None leaves it."""

    candidate_count: int | None = None
    relevance_weight: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Extras:
    """The dear parts of a report, each of which may be left out."""

    bm25: bool = True
    relevance: bool = True
    health: bool = True
    probes: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What every evaluation takes; ``reply_count`` None is as many as there are.

    ``command`` is the command line, for the report.
    """

    output: Path
    reply_count: int | None = None
    seed: int = 0
    batch_size: int = 64
    keep_leaks: bool = False
    pair_mode: PairMode | None = None
    extras: Extras = Extras()
    command: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointSubject:
    """A checkpoint to be judged on a corpus."""

    directory: Path
    source: CorpusSource
    split: EvaluationSplit
    part: EvaluationPart = EvaluationPart.TEST
    override: Override = Override()
    selection: AskedSelection = AskedSelection()
    device: str = "auto"
    precision: str = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSubject:
    """Replies to be judged; the source, if any, lends its training pairs to the null rows."""

    path: Path
    source: CorpusSource | None = None
