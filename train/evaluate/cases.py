"""Which contexts of a corpus are answered, and which training pairs the null rows may use."""

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.progress import track

from dialog_service.diversity import metric_tokens
from dialog_service.errors import ConfigError
from train.data.corpora import Corpus, CorpusSource, load_corpus
from train.data.examples import (
    DedupRule,
    ExampleOptions,
    Examples,
    Pair,
    load_published_split,
    make_examples,
)
from train.data.published import PublishedSplit
from train.metrics.postings import Postings
from train.metrics.scoring import Case

NEAR_F1 = 0.6


class EvaluationSplit(enum.StrEnum):
    """Test pairs that count.

    PUBLISHED: those that the Stochastic WAE paper's published list selects.
    DEDUPLICATED: those that training does not contain, by the corpus's own rule.
    STRICT: of these, those without a near-duplicate training pair.
    FULL: all.
    """

    PUBLISHED = "published"
    DEDUPLICATED = "deduplicated"
    STRICT = "strict"
    FULL = "full"


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseOptions:
    """Which pairs, how many turns before each response, and whether leaks stay in training."""

    split: EvaluationSplit
    context_turns: int = 1
    keep_leaks: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Cases:
    """What is answered, what the null rows draw from, and the words for signature and notes."""

    cases: tuple[Case, ...]
    train: tuple[Pair, ...]
    corpus: str
    deduplication: str
    training: str
    notes: tuple[str, ...] = ()


def load_cases(source: CorpusSource, options: CaseOptions, console: Console) -> Cases:
    """Read a corpus and choose its test pairs.

    Raises:
        CorpusError: the corpus, or the published list, cannot be read.
        ConfigError: the corpus has no such split, or nothing is left in it.
    """
    split = options.split
    if split is EvaluationSplit.PUBLISHED and source.corpus != "dailydialog":
        raise ConfigError(
            "--split published lists pairs of dailydialog alone; allowed for "
            f"{source.corpus}: deduplicated, strict, full"
        )
    corpus = load_corpus(source)
    rule = DedupRule.OFF if split is EvaluationSplit.FULL else None
    # Evaluation rows are judged by all of training, whatever of it a model then sees.
    whole = make_examples(
        corpus,
        ExampleOptions(dedup=rule, keep_leaks=True, context_turns=options.context_turns),
    )
    pairs, deduplication, note = whole.test, str(whole.report.dedup), _kept(whole)
    if split is EvaluationSplit.PUBLISHED:
        published = load_published_split(
            source, ExampleOptions(context_turns=options.context_turns)
        )
        pairs, deduplication, note = published.pairs, "published list", _selected(published)
    elif split is EvaluationSplit.STRICT:
        pairs = drop_near_duplicates(whole.test, whole.train, console)
        deduplication += f", then token-F1>={NEAR_F1:g} on both sides"
        note += f", {len(whole.test) - len(pairs):,} near-duplicates of training pairs left out"
    if not pairs:
        raise ConfigError(f"--split {split}: no test pair of {source.corpus} is left")
    return Cases(
        cases=tuple(_case(pair) for pair in pairs),
        train=training_pairs(corpus, keep_leaks=options.keep_leaks),
        corpus=f"{corpus.name}@{corpus.fingerprint[:12]}",
        deduplication=deduplication,
        training="leaks kept" if options.keep_leaks else "dialogues of the evaluation left out",
        notes=(note, f"{len(corpus.skipped):,} lines of the corpus skipped"),
    )


def training_pairs(corpus: Corpus, *, keep_leaks: bool) -> tuple[Pair, ...]:
    """Single-turn training pairs, as a model of the same setting sees them."""
    return make_examples(corpus, ExampleOptions(keep_leaks=keep_leaks)).train


def drop_near_duplicates(
    pairs: Sequence[Pair], train: Sequence[Pair], console: Console
) -> tuple[Pair, ...]:
    """The pairs without a training pair of token-F1 >= .6 with both their post and response."""
    with console.status("indexing the training pairs"):
        posts = Postings([metric_tokens(pair.context[-1]) for pair in train])
        responses = Postings([metric_tokens(pair.response) for pair in train])
    watched: Iterable[Pair] = track(pairs, "looking for near-duplicates", console=console)
    return tuple(pair for pair in watched if not _is_near(pair, posts, responses))


def _is_near(pair: Pair, posts: Postings, responses: Postings) -> bool:
    near_post = posts.token_f1(metric_tokens(pair.context[-1])) >= NEAR_F1
    near_response = responses.token_f1(metric_tokens(pair.response)) >= NEAR_F1
    return bool(np.any(near_post & near_response))


def _kept(examples: Examples) -> str:
    report = examples.report.test
    return f"test pairs: {report.kept:,} of {report.pairs:,} kept"


def _selected(published: PublishedSplit) -> str:
    return (
        f"published list: {published.rows:,} rows select {len(published.pairs):,} pairs; "
        f"{published.unmatched:,} select none, {published.ambiguous:,} could select several"
    )


def _case(pair: Pair) -> Case:
    return Case(dialogue=str(pair.dialog), context=pair.context, responses=(pair.response,))
