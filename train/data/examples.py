"""The pairs a model is trained and measured on, and a report of what was left out, and why.

The one way from a corpus to examples, for the trainer and the evaluator alike. Text stays raw:
``dialog_service.text.normalise`` is the business of whoever uses the pairs.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property

from pydantic import BaseModel, ConfigDict, Field

from dialog_service.errors import CorpusError
from train.data.corpora import CorpusSource, load_corpus
from train.data.dialogs import Corpus, Skip, Split
from train.data.duplicates import (
    DedupRule,
    drop_leaked_dialogs,
    drop_repeats,
    drop_seen,
    leaked_dialogs,
)
from train.data.pairs import Pair, PairMode, make_pairs

__all__ = [
    "DedupRule",
    "ExampleOptions",
    "Examples",
    "ExamplesReport",
    "Pair",
    "PairMode",
    "SplitReport",
    "load_examples",
    "make_examples",
]


class ExampleOptions(BaseModel):
    """How pairs are made and which are left out; None is the corpus's own default.

    ``keep_repeats``: whether training sees a pair as often as it occurs, or once.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    pair_mode: PairMode | None = None
    dedup: DedupRule | None = None
    keep_leaks: bool = False
    keep_repeats: bool = True
    context_turns: int = Field(default=1, ge=1)


@dataclass(frozen=True, slots=True)
class SplitReport:
    """Counts of one split.

    Of training alone: ``leaked_dialogs`` repeat an evaluation dialogue, ``repeats`` are pairs left
    out because they are there already.
    """

    dialogs: int
    pairs: int
    kept: int
    leaked_dialogs: int = 0
    repeats: int = 0

    @property
    def dropped(self) -> int:
        """Pairs left out: of training, leaks and repeats; else those seen in training."""
        return self.pairs - self.kept


@dataclass(frozen=True, slots=True, kw_only=True)
class ExamplesReport:
    """What became of every dialogue of a corpus."""

    corpus: str
    pair_mode: PairMode
    dedup: DedupRule
    train: SplitReport
    validation: SplitReport
    test: SplitReport
    skipped: tuple[Skip, ...]

    @property
    def splits(self) -> dict[Split, SplitReport]:
        """The three splits by name, in the usual order."""
        return {
            Split.TRAIN: self.train,
            Split.VALIDATION: self.validation,
            Split.TEST: self.test,
        }


@dataclass(frozen=True, kw_only=True)
class Examples:
    """The pairs of each split that were kept."""

    train: tuple[Pair, ...]
    validation: tuple[Pair, ...]
    test: tuple[Pair, ...]
    report: ExamplesReport

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over every pair kept, in order."""
        digest = hashlib.sha256()
        for pairs in (self.train, self.validation, self.test):
            content = "\x1e".join("\x1f".join((*pair.context, pair.response)) for pair in pairs)
            digest.update(f"{len(pairs)}\x1d{content}".encode(errors="surrogatepass"))
        return digest.hexdigest()


def load_examples(source: CorpusSource, options: ExampleOptions | None = None) -> Examples:
    """Read a corpus and make its examples.

    Raises:
        CorpusError: the corpus cannot be read, or gives nothing to train on.
    """
    examples = make_examples(load_corpus(source), options or ExampleOptions())
    if not examples.train:
        raise CorpusError(f"corpus {source.corpus}: no pair to train on")
    return examples


def make_examples(corpus: Corpus, options: ExampleOptions) -> Examples:
    """Pair, then drop from evaluation what training contains, then from training what leaks.

    In this order, so that the evaluation rows do not depend on ``keep_leaks`` or ``keep_repeats``.
    """
    rule = options.dedup or _default_rule(corpus)
    mode = options.pair_mode or _default_pair_mode(corpus)
    train, validation, test = (
        make_pairs(corpus.split(split), mode, context_turns=options.context_turns)
        for split in Split
    )
    evaluated = () if options.keep_leaks else corpus.validation + corpus.test
    leaked = leaked_dialogs(corpus.train, evaluated)
    unleaked = drop_leaked_dialogs(train, leaked)
    train_kept = unleaked if options.keep_repeats else drop_repeats(unleaked)
    validation_kept, test_kept = drop_seen(validation, train, rule), drop_seen(test, train, rule)
    report = ExamplesReport(
        corpus=corpus.name,
        pair_mode=mode,
        dedup=rule,
        train=SplitReport(
            len(corpus.train),
            len(train),
            len(train_kept),
            len(leaked),
            len(unleaked) - len(train_kept),
        ),
        validation=SplitReport(len(corpus.validation), len(validation), len(validation_kept)),
        test=SplitReport(len(corpus.test), len(test), len(test_kept)),
        skipped=corpus.skipped,
    )
    return Examples(train=train_kept, validation=validation_kept, test=test_kept, report=report)


def _default_pair_mode(corpus: Corpus) -> PairMode:
    return PairMode.TURNS if corpus.name == "switchboard" else PairMode.ADJACENT


def _default_rule(corpus: Corpus) -> DedupRule:
    return DedupRule.PAIRS if corpus.name == "switchboard" else DedupRule.SIDES
