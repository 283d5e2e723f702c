"""From training pairs to a learned classifier and a measure of how good it is."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from rich.console import Console
from rich.progress import track

from dialog_service.errors import ConfigError
from train.data.pairs import Pair
from train.metrics.judgement import CANDIDATES
from train.metrics.relevance.bags import Ints
from train.metrics.relevance.calibration import Calibration, calibrate
from train.metrics.relevance.encoder import DualEncoder
from train.metrics.relevance.examples import (
    Overlaps,
    Texts,
    different_texts,
    split_by_dialogue,
)
from train.metrics.relevance.features import Features
from train.metrics.relevance.matcher import Floats, Matcher, Vectors, chosen, cosines, ranks
from train.metrics.relevance.settings import RelevanceSettings
from train.metrics.relevance.training import Material, fit, step_count

_SHIFTS = 5  # random replies per held-out post to calibrate with


class Quality(BaseModel):
    """How well the classifier does on held-out training pairs, by which its figures are judged.

    ``accuracy`` tells responses from random replies, half of each; ``mean_rank`` is that of the
    response among 99 random ones, 50.5 by chance; relevance is the mean probability.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    pairs: int
    accuracy: float
    mean_rank: float
    relevance: float
    relevance_of_random: float
    relevance_of_echo: float

    def __str__(self) -> str:
        """One line for a report's notes."""
        return (
            f"relevance classifier on {self.pairs:,} held-out training pairs: tells the response "
            f"from a random reply in {self.accuracy:.1%} of cases, ranks it {self.mean_rank:.1f} "
            f"of {CANDIDATES} on average (50.5 by chance); mean probability {self.relevance:.3f}, "
            f"of random replies {self.relevance_of_random:.3f}, of an echo of the post "
            f"{self.relevance_of_echo:.3f}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """All that a scorer needs; ``others`` are the held-out responses that ranks are among."""

    matcher: Matcher
    calibration: Calibration
    others: tuple[str, ...]
    quality: Quality


def learn(
    pairs: Sequence[Pair], settings: RelevanceSettings, *, seed: int, console: Console
) -> Learned:
    """Train, calibrate and measure; the same pairs, settings and seed give the same classifier.

    Raises:
        ConfigError: all pairs are of one dialogue, so that nothing can be held out.
    """
    if len({pair.dialog for pair in pairs}) < 2:
        raise ConfigError("relevance is learned from training pairs of at least two dialogues")
    random = np.random.default_rng(seed)
    kept = _some(pairs, settings.max_pairs, random)
    split = split_by_dialogue(kept, settings.held_out_share, random)
    watched = track(different_texts(kept), "relevance: reading", console=console)
    texts = Texts.of(kept, watched)
    with torch.random.fork_rng(devices=[]), _one_thread():
        torch.manual_seed(seed)
        matcher = _trained(texts, split.learned, settings, random, console)
    held_out = [kept[row] for row in split.held_out]
    calibration, quality = _measured(matcher, held_out, seed)
    others = tuple(pair.response for pair in held_out)
    return Learned(matcher=matcher, calibration=calibration, others=others, quality=quality)


def _some(pairs: Sequence[Pair], most: int, random: np.random.Generator) -> list[Pair]:
    """All pairs, or as many as allowed, drawn blindly, in their order."""
    if len(pairs) <= most:
        return list(pairs)
    return [pairs[row] for row in np.sort(random.choice(len(pairs), size=most, replace=False))]


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Sums in one order, whatever the machine; more threads would gain next to nothing here."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _trained(
    texts: Texts,
    rows: Ints,
    settings: RelevanceSettings,
    random: np.random.Generator,
    console: Console,
) -> Matcher:
    """An encoder trained on some rows, behind a bar."""
    posts, replies = texts.posts[rows], texts.replies[rows]
    seen = [texts.words[place] for place in np.unique([posts, replies])]
    features = Features.fit(
        seen, least_words=settings.least_words, least_pairs=settings.least_pairs
    )
    bags = features.bags(texts.words)
    material = Material(bags, posts, replies, Overlaps(bags, posts, replies, features.is_word()))
    encoder = DualEncoder(max(1, len(features)), settings.width, settings.dropout)
    steps = fit(encoder, material, settings, random)
    total = step_count(len(rows), settings)
    for _ in track(steps, "relevance: learning", total=total, console=console):
        pass
    return Matcher(features, encoder)


def _measured(matcher: Matcher, pairs: Sequence[Pair], seed: int) -> tuple[Calibration, Quality]:
    """Calibrate on held-out pairs and random replies to them; two numbers cannot learn them."""
    posts = [pair.context[-1] for pair in pairs]
    u = matcher.posts(posts)
    v = matcher.replies([pair.response for pair in pairs])
    order = np.random.default_rng(seed).permutation(len(pairs))
    shifts = [np.roll(order, shift + 1)[np.argsort(order)] for shift in range(_SHIFTS)]
    own = cosines(u, v)
    random = np.concatenate([cosines(u, v[shift]) for shift in shifts])
    calibration = calibrate(own, random)
    truth, chance = calibration.probability(own), calibration.probability(random)
    echo = calibration.probability(cosines(u, matcher.replies(posts)))
    return calibration, Quality(
        pairs=len(pairs),
        accuracy=float(((truth > 0.5).mean() + (chance <= 0.5).mean()) / 2),
        mean_rank=float(_ranks(u, v, posts, seed).mean()),
        relevance=float(truth.mean()),
        relevance_of_random=float(chance.mean()),
        relevance_of_echo=float(echo.mean()),
    )


def _ranks(u: Vectors, v: Vectors, posts: Sequence[str], seed: int) -> Floats:
    """(B,) of the held-out responses among one another, a chunk at a time."""
    choices = [chosen(post, len(v), seed) for post in posts]
    return np.array([ranks(u[row : row + 1], v[row : row + 1], v[choice][None])[0]
                     for row, choice in enumerate(choices)])  # fmt: skip
