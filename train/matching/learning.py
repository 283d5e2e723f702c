"""Learning to tell a context's response from other replies, and how sure to be of it."""

from collections.abc import Iterator

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from dialog_service.models.matcher import Matcher
from train.matching.material import Material
from train.matching.settings import MatchingSettings
from train.metrics.relevance.calibration import Evidence, calibrate

_OTHERS = 99  # random replies that a response is ranked among
_CHUNK = 4096


class Quality(BaseModel):
    """How well it does on pairs that it did not learn.

    ``accuracy`` tells responses from random replies, half of each; ``mean_rank`` is that of the
    response among 99 random ones, 50.5 by chance.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    pairs: int
    accuracy: float
    mean_rank: float

    def __str__(self) -> str:
        """One line for a person."""
        return (
            f"on {self.pairs:,} other pairs it tells the response from a random reply in "
            f"{self.accuracy:.1%} of cases and ranks it {self.mean_rank:.1f} of {_OTHERS + 1} on "
            "average (50.5 by chance)"
        )


def fit_matcher(
    matcher: Matcher,
    learned: Material,
    held_out: Material,
    settings: MatchingSettings,
    console: Console,
) -> Quality:
    """Learn, calibrate and measure; the same material, settings and threads give the same.

    Args:
        matcher: changed in place, left in evaluation.
        learned: at least a batch of pairs.
        held_out: what it is calibrated and measured on, at least two pairs.
        settings: of the learning.
        console: for the bar.
    """
    total = settings.epochs * (len(learned) // settings.batch_size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        for _ in track(
            _steps(matcher, learned, settings, total),
            "matcher: learning",
            total=total,
            console=console,
        ):
            pass
    matcher.eval()
    return _calibrated(matcher, held_out, settings.seed)


def _steps(
    matcher: Matcher, material: Material, settings: MatchingSettings, total: int
) -> Iterator[float]:
    """Train; gives the loss of each step, nats per pair."""
    scale = nn.Parameter(torch.tensor(settings.first_scale).log())
    towers = [*matcher.contexts.parameters(), *matcher.replies.parameters()]
    optimiser = torch.optim.AdamW(
        [*towers, scale], lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    rates = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings.learning_rate, total_steps=total
    )
    matcher.train()
    for _, rows in zip(range(total), _batches(len(material), settings.batch_size), strict=False):
        loss = _loss(matcher, material, rows, scale.exp())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        rates.step()
        yield loss.item()


def _batches(count: int, size: int) -> Iterator[Tensor]:
    """Rows of shuffled pairs, epoch after epoch, the last few of each left out."""
    while True:
        yield from torch.randperm(count)[: count // size * size].split(size)


def _loss(matcher: Matcher, material: Material, rows: Tensor, scale: Tensor) -> Tensor:
    """Mean of -ln softmax of each context's response among all replies, and the other way round.

    As in Henderson et al. (2017) the negatives are the other replies of the batch, with one more:
    the post itself. A reply in the batch with the very text of the response does not count
    against it.

    Returns:
        () nats per pair.
    """
    replies, posts = material.replies[rows], material.posts[rows]
    u = matcher.contexts(material.features[material.contexts[rows]])  # (B, M)
    v = matcher.replies(material.features[replies])  # (B, M)
    echoed = matcher.replies(material.features[posts])  # (B, M)
    same = (replies[:, None] == replies[None]).fill_diagonal_(False)
    among = (scale * (u @ v.T)).masked_fill(same, -torch.inf)  # (B, B)
    echo = (scale * (u * echoed).sum(dim=1)).masked_fill(posts == replies, -torch.inf)  # (B,)
    own = torch.arange(len(rows))
    forth = cross_entropy(torch.cat([among, echo[:, None]], dim=1), own)
    return (forth + cross_entropy(among.T, own)) / 2


@torch.inference_mode()
def _calibrated(matcher: Matcher, material: Material, seed: int) -> Quality:
    """Make probabilities of cosines (Platt, 1999), and measure, on the same pairs.

    Two numbers cannot learn them.
    """
    u = _vectors(matcher.contexts, material.features[material.contexts])
    v = _vectors(matcher.replies, material.features[material.replies])
    random = np.random.default_rng(seed)
    others = torch.from_numpy(random.integers(len(v), size=(len(u), _OTHERS)))  # (N, K)
    own = (u * v).sum(dim=1)  # (N,)
    theirs = torch.stack([v[row] @ each for row, each in zip(others, u, strict=True)])  # (N, K)
    theirs = theirs.masked_fill(material.replies[others] == material.replies[:, None], -torch.inf)
    other = theirs[:, 0][theirs[:, 0].isfinite()]
    line = calibrate(_evidence(own), _evidence(other))
    matcher.slope.fill_(line.slope)
    matcher.offset.fill_(line.offset)
    told = (line.probability(_evidence(own)) > 0.5).mean()
    not_fooled = (line.probability(_evidence(other)) <= 0.5).mean()
    return Quality(
        pairs=len(own),
        accuracy=float((told + not_fooled) / 2),
        mean_rank=float(1 + (theirs > own[:, None]).double().sum(dim=1).mean()),
    )


def _vectors(tower: nn.Module, features: Tensor) -> Tensor:
    return torch.cat([tower(part) for part in features.split(_CHUNK)])


def _evidence(cosines: Tensor) -> Evidence:
    found = cosines.double().numpy()
    return Evidence(found, np.zeros_like(found))
