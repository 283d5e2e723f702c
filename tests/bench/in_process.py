"""Replies without a network: the engine in each precision, the plain loop, the bare products."""

import functools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import torch
from plain_model import PlainModel, PlainSizes
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from dialog_service.checkpoint import load_checkpoint
from dialog_service.engine.choosers import Chooser, build_chooser
from dialog_service.engine.kernels import find_kernels
from dialog_service.engine.precision import multiplies_bf16
from dialog_service.engine.products import can_multiply_int8, packed
from dialog_service.engine.rows import row_shape
from dialog_service.generation import GenerationRequest, Generator
from dialog_service.models.search import TokenRule
from dialog_service.text import normalise
from dialog_service.vocabulary import BOS, EOS

REPLIES = 10
POSTS = ("How was your weekend?", "I lost my wallet on the train.", "What time is the meeting?")


class Rate(NamedTuple):
    """``per_second`` of whatever is measured, ``batch`` requests at a time."""

    what: str
    batch: int
    per_second: float


def seconds_each(work: Callable[[], object], budget: float) -> float:
    """The least of what one call took, of as many as fit into the budget, three at least."""
    work()
    taken: list[float] = []
    end = time.perf_counter() + budget
    while len(taken) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return min(taken)


def precisions() -> list[str]:
    """Those that this machine multiplies natively."""
    cpu = torch.device("cpu")
    return ["fp32", *["int8"] * can_multiply_int8(), *["bf16"] * multiplies_bf16(cpu)]


def products(rows: int, budget: float) -> Iterator[Rate]:
    """FLOP/s of the vocabulary's product alone."""
    sizes = PlainSizes()
    weight, x = torch.randn(sizes.words, sizes.hidden), torch.randn(rows, sizes.hidden).tanh()
    flop = 2 * rows * sizes.words * sizes.hidden
    with torch.inference_mode():
        for name in precisions():
            product = functools.partial(packed(weight, None, name), x)
            yield Rate(f"vocabulary product {name}", rows, flop / seconds_each(product, budget))
        if find_kernels() is not None:
            chosen = functools.partial(
                _chosen, build_chooser(weight, weight[:, 0], "int8", find_kernels()), x
            )
            yield Rate("the same and a word, compiled", rows, flop / seconds_each(chosen, budget))


def _chosen(chooser: Chooser, x: Tensor) -> object:
    """The likeliest word of each row."""
    rows = len(x)
    rule = TokenRule(
        temperature=torch.zeros(rows),
        top_k=torch.zeros(rows, dtype=torch.int64),
        top_p=torch.ones(rows, dtype=torch.float64),
    )
    uniform, may_end = torch.zeros(rows, dtype=torch.float64), torch.ones(rows, dtype=torch.bool)
    shape = row_shape(x.device, "int8", (), words=PlainSizes().words)
    return chooser.choose(x, shape, rule, uniform, may_end)


def plain(batch: int, budget: float) -> Iterator[Rate]:
    """Requests/s of the plain loop."""
    torch.manual_seed(0)
    model = PlainModel(PlainSizes()).eval()
    contexts = torch.randint(4, 20_000, (batch, 12))
    for name in ("fp32", *["bf16 autocast"] * multiplies_bf16(torch.device("cpu"))):
        with torch.autocast("cpu", enabled=name != "fp32"):
            taken = seconds_each(lambda: model.replies(contexts, REPLIES), budget)
        yield Rate(f"plain loop {name}", batch, batch / taken)


def requests(generator: Generator, batch: int, replies: int) -> list[GenerationRequest]:
    """So many different ones, with the checkpoint's own sampling."""
    return [
        GenerationRequest(
            turns=(POSTS[place % len(POSTS)],),
            reply_count=replies,
            sampling=generator.defaults,
            seed=place,
        )
        for place in range(batch)
    ]


def engine(checkpoint: Path, batch: int, budget: float, *, label: str) -> Iterator[Rate]:
    """Requests/s of the generator, with the checkpoint's own sampling."""
    for name in precisions():
        generator = Generator.load(checkpoint, device="cpu", precision=name)
        yield Rate(f"{label} {name}", batch, _rate(generator, batch, budget))
    if find_kernels() is not None:
        with mock.patch("dialog_service.engine.engine.find_kernels", return_value=None):
            generator = Generator.load(checkpoint, device="cpu", precision="int8")
        yield Rate(f"{label} int8 by torch", batch, _rate(generator, batch, budget))


def _rate(generator: Generator, batch: int, budget: float) -> float:
    asked = requests(generator, batch, REPLIES)
    return batch / seconds_each(functools.partial(generator.generate, asked), budget)


def plain_trained(checkpoint: Path, batch: int, budget: float) -> Iterator[Rate]:
    """Requests/s of the same trained model as one would decode it, until every reply has ended."""
    loaded = load_checkpoint(checkpoint)
    model, vocabulary, sampling = loaded.model.eval(), loaded.vocabulary, loaded.sampling
    posts = [vocabulary.encode(normalise(POSTS[place % len(POSTS)])) for place in range(batch)]
    lengths = torch.tensor([len(ids) for ids in posts])
    contexts = pad_sequence([torch.tensor(ids) for ids in posts], batch_first=True)

    @torch.inference_mode()
    def replies() -> None:
        belief = model.reply_belief(model.encoder(model.embedding(contexts), lengths))
        loc, scale = (part.repeat_interleave(REPLIES, 0) for part in (belief.loc, belief.scale))
        z = loc + sampling.latent_scale * scale * torch.randn_like(loc)
        state, words = model.decoder.start(z), torch.full((len(z),), BOS)
        is_live = torch.ones(len(z), dtype=torch.bool)
        for _ in range(model.config.max_response_tokens):
            scores, state = model.decoder.step(words, z, state)
            ordered, order = (scores / sampling.temperature).softmax(1).sort(1, descending=True)
            before = ordered.cumsum(1) - ordered
            kept = ordered.where(before < sampling.top_p, 0.0)
            words = order.gather(1, kept.multinomial(1)).squeeze(1)
            is_live &= words != EOS
            if not is_live.any():
                break

    yield Rate("plain loop, trained", batch, batch / seconds_each(replies, budget))
