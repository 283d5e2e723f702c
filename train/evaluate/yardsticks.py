"""What a system's figures are measured with and read beside: null rows, a corpus, a judge.

All but the human responses and the echo come from the training pairs of a corpus.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rich.console import Console

from train.data.pairs import Pair
from train.evaluate.options import Options
from train.metrics.fluency import LanguageModel
from train.metrics.judgement import Judge
from train.metrics.language_model import NgramModel
from train.metrics.null_rows import Echo, Human, RandomReplies, RetrievedReplies, System
from train.metrics.unigrams import Unigrams

_JUDGE_SEED = 0  # whatever the seed of the job: figures of two jobs are to be compared


@dataclass(frozen=True, slots=True)
class Yardsticks:
    """Rows that need no model; what measures replies, where there is a corpus to learn it from.

    Attributes:
        rows: human, echo, and those that draw from training pairs.
        corpus: what UniKL compares with.
        language_model: tells fluency.
        judge: of relevance.
        notes: how well the judge knows.
    """

    rows: tuple[System, ...]
    corpus: Unigrams | None = None
    language_model: LanguageModel | None = None
    judge: Judge | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPairs:
    """What null rows draw from, and the same without dialogues that repeat an evaluation one."""

    train: Sequence[Pair] = ()
    unleaked: Sequence[Pair] = ()


def make_yardsticks(
    count: int, pairs: TrainingPairs, options: Options, console: Console
) -> Yardsticks:
    """Human and echo; with training pairs to draw from, all of it.

    Args:
        count: replies per context.
        pairs: of training, none where there is no corpus.
        options: which parts to leave out.
        console: for bars.
    """
    rows: list[System] = [Human(count=count), Echo()]
    if not pairs.train:
        return Yardsticks(tuple(rows))
    replies = [pair.response for pair in pairs.train]
    with console.status("indexing the training replies"):
        rows.append(RandomReplies(replies, count=count, seed=options.seed))
        if options.extras.bm25:
            posts = [pair.context[-1] for pair in pairs.train]
            rows.append(RetrievedReplies(posts, replies, count=count))
        corpus = Unigrams(replies)
        language_model = NgramModel(pair.response for pair in pairs.unleaked)
    known = Yardsticks(tuple(rows), corpus, language_model)
    if not options.extras.relevance:
        return known
    from train.metrics.relevance import RelevanceScorer  # brings torch along

    judge = RelevanceScorer.train_or_load(pairs.unleaked, seed=_JUDGE_SEED, console=console)
    return replace(known, judge=judge, notes=(f"relevance: {judge.quality}",))
