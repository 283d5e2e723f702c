"""What fewer bits cost: NLL of a corpus' test responses and Dist of replies, in each precision.

    python tests/bench/precision.py --data-dir CORPORA

A response's NLL is the engine's own, step by step, with z at its mean; replies are sampled as the
checkpoint has it, the same seeds in every precision. Two draws of replies in one precision differ
too: what a precision costs shows in the mean of several, beside its standard error.
"""

import math
import statistics
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, NamedTuple

import torch
import typer
from in_process import precisions
from rich.console import Console
from rich.progress import track
from rich.table import Table

from dialog_service.checkpoint import DEFAULT_CHECKPOINT, load_checkpoint
from dialog_service.diversity import distinct_ratio, metric_tokens
from dialog_service.engine import Engine
from dialog_service.generation import GenerationRequest, Generator, context_ids
from dialog_service.models.search import log_probability
from dialog_service.text import normalise
from dialog_service.vocabulary import EOS, UNK
from train.data.corpora import CorpusSource
from train.data.examples import load_examples

BATCH = 64
Dialogs = Sequence[tuple[list[int], list[int]]]
"""The ids of contexts and of responses."""


class Cost(NamedTuple):
    """Figures of one precision: nats a token, and shares of distinct words and pairs of words.

    These are one for each draw of replies.
    """

    precision: str
    nll_per_token: float
    distinct_1: list[float]
    distinct_2: list[float]


def nll_per_token(engine: Engine, dialogs: Dialogs) -> float:
    """Nats a token of the responses, end of sequence counted, z at its mean."""
    nats, tokens = 0.0, 0
    batches = [dialogs[start : start + BATCH] for start in range(0, len(dialogs), BATCH)]
    for batch in track(batches, f"likelihood in {engine.precision}"):
        targets = [[*response, EOS] for _, response in batch]
        codes = engine.codes([context for context, _ in batch])
        share, state = engine.start(engine.signals(codes.loc, codes.share))
        for step in range(max(map(len, targets))):
            words = torch.tensor([ids[step] if step < len(ids) else EOS for ids in targets])
            real = torch.tensor([step < len(ids) for ids in targets])
            nats -= float(log_probability(engine.scores(state), words)[real].double().sum())
            state = engine.advance(words, share, state)
        tokens += sum(map(len, targets))
    return nats / tokens


def replies(
    generator: Generator, contexts: Sequence[tuple[str, ...]], draw: int
) -> Iterator[list[str]]:
    """The metric's words of one reply to each context."""
    asked = enumerate(contexts, draw * len(contexts))
    batches = iter(lambda: list(islice(asked, BATCH)), [])
    for batch in track(list(batches), f"replies in {generator.precision}, draw {draw + 1}"):
        requests = [
            GenerationRequest(turns=turns, reply_count=1, sampling=generator.defaults, seed=seed)
            for seed, turns in batch
        ]
        for result in generator.generate(requests):
            if result and result.candidates:
                yield metric_tokens(result.candidates[0].text)


def cost(precision: str, contexts: Sequence[tuple[str, ...]], dialogs: Dialogs, draws: int) -> Cost:
    """The figures of one precision."""
    checkpoint = load_checkpoint(DEFAULT_CHECKPOINT)
    generator = Generator(checkpoint, device="cpu", precision=precision)
    engine = Engine(checkpoint.model, precision=precision, device=torch.device("cpu"))
    with torch.inference_mode():
        nats = nll_per_token(engine, dialogs)
    said = [list(replies(generator, contexts, draw)) for draw in range(draws)]
    distinct = ([distinct_ratio(each, n) for each in said] for n in (1, 2))
    return Cost(precision, nats, *distinct)


def shown(figures: Sequence[float], exact: Sequence[float]) -> str:
    """A mean, and how far, pair of draws by pair, it is from that of fp32, in percent."""
    mean = f"{statistics.fmean(figures):.4f}"
    if len(figures) < 2 or figures is exact:
        return mean
    apart = [100 * (one / other - 1) for one, other in zip(figures, exact, strict=True)]
    error = statistics.stdev(apart) / math.sqrt(len(apart))
    return f"{mean} ({statistics.fmean(apart):+.1f}% ± {error:.1f})"


def main(
    data_dir: Annotated[Path | None, typer.Option(envvar="CORPORA_DIR")] = None,
    corpus: Annotated[str, typer.Option()] = "dailydialog",
    pairs: Annotated[int, typer.Option(min=1, help="Of the test part, the first ones.")] = 2000,
    draws: Annotated[int, typer.Option(min=1, help="Of a reply to each.")] = 4,
) -> None:
    """Measure the packaged model in every precision that this machine has."""
    test = load_examples(CorpusSource(corpus=corpus, data_dir=data_dir)).test[:pairs]
    checkpoint = load_checkpoint(DEFAULT_CHECKPOINT)
    encode, limits = checkpoint.vocabulary.encode, checkpoint.model.config
    dialogs = [
        (
            context_ids([encode(normalise(turn)) for turn in pair.context], limits),
            encode(normalise(pair.response))[: limits.max_response_tokens - 1],
        )
        for pair in test
    ]
    dialogs = [dialog for dialog in dialogs if UNK not in dialog[1]]  # which is never said
    contexts = [tuple(pair.context) for pair in test]
    table = Table("precision", "nats a token", "Dist-1", "Dist-2", box=None)
    costs = [cost(precision, contexts, dialogs, draws) for precision in precisions()]
    for each in costs:
        pairs_of = zip(each[2:], costs[0][2:], strict=True)
        nats = f"{each.nll_per_token:.4f}"
        table.add_row(each.precision, nats, *(shown(*figures) for figures in pairs_of))
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
