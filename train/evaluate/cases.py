"""Which contexts of a corpus are answered, and which training pairs the null rows may use."""

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.progress import track

from dialog_service.diversity import metric_tokens
from dialog_service.errors import ConfigError
from train.data.corpora import Corpus, CorpusSource, Split, load_corpus
from train.data.examples import (
    DedupRule,
    ExampleOptions,
    Examples,
    Pair,
    PairMode,
    make_examples,
)
from train.data.pairs import make_pairs
from train.data.published import PublishedSplit, select_published
from train.metrics.postings import Postings
from train.metrics.scoring import Case

NEAR_F1 = 0.6


class EvaluationSplit(enum.StrEnum):
    """Evaluation pairs that count.

    PUBLISHED: those that the Stochastic WAE paper's published list selects.
    DEDUPLICATED: those that training does not contain, by the corpus's own rule.
    STRICT: of these, those without a near-duplicate training pair.
    FULL: all.
    """

    PUBLISHED = "published"
    DEDUPLICATED = "deduplicated"
    STRICT = "strict"
    FULL = "full"


class EvaluationPart(enum.StrEnum):
    """The part of a corpus that is answered; decodings are chosen on VALIDATION, not on TEST."""

    VALIDATION = "validation"
    TEST = "test"


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseOptions:
    """Which pairs, how many turns before each response, and whether leaks stay in training.

    ``pair_mode`` None is the corpus's own.
    """

    split: EvaluationSplit
    part: EvaluationPart = EvaluationPart.TEST
    pair_mode: PairMode | None = None
    context_turns: int = 1
    keep_leaks: bool = False

    @property
    def examples(self) -> ExampleOptions:
        """How the corpus is paired, to be judged by all of training, whatever a model then sees."""
        return ExampleOptions(
            pair_mode=self.pair_mode,
            dedup=DedupRule.OFF if self.split is EvaluationSplit.FULL else None,
            keep_leaks=True,
            context_turns=self.context_turns,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cases:
    """What is answered, what the null rows draw from, and the words for signature and notes.

    ``unleaked`` is ``train`` without dialogues that repeat an evaluation dialogue.
    """

    cases: tuple[Case, ...]
    train: tuple[Pair, ...]
    unleaked: tuple[Pair, ...]
    corpus: str
    split: str
    deduplication: str
    training: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The pairs of a split, the rule that left others out, and how many it left out."""

    pairs: tuple[Pair, ...]
    rule: str
    note: str


def load_cases(source: CorpusSource, options: CaseOptions, console: Console) -> Cases:
    """Read a corpus and choose its evaluation pairs.

    Raises:
        CorpusError: the corpus, or the published list, cannot be read.
        ConfigError: the corpus has no such split or pairs, or nothing is left in it.
    """
    _check(source, options)
    corpus = load_corpus(source)
    whole = make_examples(corpus, options.examples)
    chosen = _choose(source, corpus, whole, options)
    if options.split is EvaluationSplit.STRICT:
        chosen = _without_near(chosen, whole.train, console)
    if not chosen.pairs:
        raise ConfigError(
            f"--split {options.split}: no {options.part} pair of {source.corpus} is left"
        )
    unleaked = training_pairs(corpus, options.pair_mode, keep_leaks=False)
    leaky = training_pairs(corpus, options.pair_mode, keep_leaks=True) if options.keep_leaks else ()
    return Cases(
        cases=tuple(_case(pair) for pair in chosen.pairs),
        train=leaky or unleaked,
        unleaked=unleaked,
        corpus=f"{corpus.name}@{corpus.fingerprint[:12]}",
        split=_split(options, whole.report.pair_mode),
        deduplication=chosen.rule,
        training="leaks kept" if options.keep_leaks else "dialogues of the evaluation left out",
        notes=(chosen.note, f"{len(corpus.skipped):,} lines of the corpus skipped"),
    )


def training_pairs(
    corpus: Corpus, pair_mode: PairMode | None = None, *, keep_leaks: bool
) -> tuple[Pair, ...]:
    """Single-turn training pairs, as a model of the same setting sees them."""
    options = ExampleOptions(pair_mode=pair_mode, keep_leaks=keep_leaks)
    return make_examples(corpus, options).train


def drop_near_duplicates(
    pairs: Sequence[Pair], train: Sequence[Pair], console: Console
) -> tuple[Pair, ...]:
    """The pairs without a training pair of token-F1 >= .6 with both their post and response."""
    with console.status("indexing the training pairs"):
        posts = Postings([metric_tokens(pair.context[-1]) for pair in train])
        responses = Postings([metric_tokens(pair.response) for pair in train])
    watched: Iterable[Pair] = track(pairs, "looking for near-duplicates", console=console)
    return tuple(pair for pair in watched if not _is_near(pair, posts, responses))


def _check(source: CorpusSource, options: CaseOptions) -> None:
    """The published list is of one corpus."""
    if options.split is EvaluationSplit.PUBLISHED and source.corpus != "dailydialog":
        raise ConfigError(
            "--split published lists pairs of dailydialog alone; allowed for "
            f"{source.corpus}: deduplicated, strict, full"
        )


def _choose(source: CorpusSource, corpus: Corpus, whole: Examples, options: CaseOptions) -> _Chosen:
    """The pairs of the split, near-duplicates still among them."""
    part = Split(options.part)
    if options.split is not EvaluationSplit.PUBLISHED:
        pairs = whole.test if part is Split.TEST else whole.validation
        return _Chosen(pairs, str(whole.report.dedup), _kept(whole, part))
    listed = load_corpus(CorpusSource(corpus="published", data_dir=source.data_dir))
    turns, mode = corpus.split(part), whole.report.pair_mode
    pairs = make_pairs(turns, mode, context_turns=options.context_turns)
    published = select_published(pairs, listed.split(part))
    return _Chosen(published.pairs, "published list", _selected(published))


def _without_near(chosen: _Chosen, train: Sequence[Pair], console: Console) -> _Chosen:
    pairs = drop_near_duplicates(chosen.pairs, train, console)
    left_out = len(chosen.pairs) - len(pairs)
    return _Chosen(
        pairs,
        f"{chosen.rule}, then token-F1>={NEAR_F1:g} on both sides",
        f"{chosen.note}, {left_out:,} near-duplicates of training pairs left out",
    )


def _is_near(pair: Pair, posts: Postings, responses: Postings) -> bool:
    near_post = posts.token_f1(metric_tokens(pair.context[-1])) >= NEAR_F1
    near_response = responses.token_f1(metric_tokens(pair.response)) >= NEAR_F1
    return bool(np.any(near_post & near_response))


def _split(options: CaseOptions, mode: PairMode) -> str:
    """For the signature: what is not said is single turns, each answering the one before it."""
    said = [f"{options.part}/{options.split}"]
    said += [f"pairs of {mode}"] if mode is not PairMode.ADJACENT else []
    said += [f"{options.context_turns} turns of context"] if options.context_turns > 1 else []
    return ", ".join(said)


def _kept(examples: Examples, part: Split) -> str:
    report = examples.report.splits[part]
    return f"{part} pairs: {report.kept:,} of {report.pairs:,} kept"


def _selected(published: PublishedSplit) -> str:
    return (
        f"published list: {published.rows:,} rows select {len(published.pairs):,} pairs; "
        f"{published.unmatched:,} select none, {published.ambiguous:,} could select several"
    )


def _case(pair: Pair) -> Case:
    return Case(dialogue=str(pair.dialog), context=pair.context, responses=(pair.response,))
