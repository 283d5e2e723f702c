"""Learning to tell a post's own response from others; knows nothing of files."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from train.metrics.relevance.bags import Bags, Ints
from train.metrics.relevance.encoder import DualEncoder
from train.metrics.relevance.examples import Overlaps
from train.metrics.relevance.settings import RelevanceSettings

_LAST_RATE = 0.02  # of the first, where the linear decay ends


@dataclass(frozen=True, slots=True)
class Material:
    """Bags of U texts; which of them are the posts and the responses of N pairs."""

    bags: Bags
    posts: Ints
    replies: Ints
    overlaps: Overlaps


def step_count(pairs: int, settings: RelevanceSettings) -> int:
    """Steps of the whole training."""
    per_epoch = max(1, pairs // settings.batch_size)
    return min(settings.epochs * per_epoch, settings.max_steps)


def fit(
    encoder: DualEncoder,
    material: Material,
    settings: RelevanceSettings,
    random: np.random.Generator,
) -> Iterator[float]:
    """Train in place; gives the loss of each of ``step_count`` steps, nats per pair.

    Args:
        encoder: changed as the steps are asked for.
        material: at least two pairs.
        settings: of the training.
        random: of the order, the dropout of features and the negatives.
    """
    tables = [encoder.posts.embedding.weight, encoder.replies.embedding.weight]
    layers = [p for p in encoder.parameters() if all(p is not table for table in tables)]
    optimisers: tuple[torch.optim.Optimizer, ...] = (
        torch.optim.SparseAdam(tables, lr=settings.embedding_rate),
        torch.optim.Adam(layers, lr=settings.layer_rate),
    )
    steps = step_count(len(material.posts), settings)
    decays = [
        torch.optim.lr_scheduler.LinearLR(o, 1.0, _LAST_RATE, total_iters=steps) for o in optimisers
    ]
    encoder.train()
    for _, rows in zip(range(steps), _batches(material, settings, random), strict=False):
        loss = _loss(encoder, material, rows, settings.feature_dropout, random)
        for optimiser in optimisers:
            optimiser.zero_grad()
        loss.backward()
        for optimiser, decay in zip(optimisers, decays, strict=True):
            optimiser.step()
            decay.step()
        yield loss.item()
    encoder.eval()


def _batches(
    material: Material, settings: RelevanceSettings, random: np.random.Generator
) -> Iterator[Ints]:
    """Rows of shuffled pairs, epoch after epoch, the last few of each left out."""
    count = len(material.posts)
    size = min(settings.batch_size, count)
    while True:
        order = random.permutation(count)
        yield from (order[start : start + size] for start in range(0, count - size + 1, size))


def _loss(
    encoder: DualEncoder,
    material: Material,
    rows: Ints,
    rate: float,
    random: np.random.Generator,
) -> Tensor:
    """Mean of -log softmax of each post's response among all replies, and the other way round.

    Henderson et al. (2017), equation 6, with two columns more: the post itself, as a reply, and a
    response that shares a rare word with it. A reply in the batch with the very text of the
    response does not count against it.

    Returns:
        () nats per pair.
    """
    posts, replies = material.posts[rows], material.replies[rows]

    def thinned(texts: Ints) -> Bags:
        return material.bags.take(texts).thinned(rate, random)

    u, v = encoder.posts(thinned(posts)), encoder.replies(thinned(replies))  # (B, D) both
    shared = material.overlaps.draw(rows, random)
    echoed, overlapping = encoder.replies(thinned(posts)), encoder.replies(thinned(shared.clip(0)))
    scale = encoder.log_scale.exp()
    same = torch.from_numpy(replies[:, None] == replies[None]).fill_diagonal_(False)
    among = (scale * (u @ v.T)).masked_fill(same, -torch.inf)  # (B, B)
    echo = (scale * (u * echoed).sum(1)).masked_fill(torch.from_numpy(posts == replies), -torch.inf)
    overlap = (scale * (u * overlapping).sum(1)).masked_fill(
        torch.from_numpy((shared < 0) | (shared == replies)), -torch.inf
    )
    own = torch.arange(len(rows))
    forth = cross_entropy(torch.cat([among, echo[:, None], overlap[:, None]], 1), own)
    back = cross_entropy(among.T, own)
    return (forth + back) / 2
