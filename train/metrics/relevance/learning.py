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
from train.metrics.relevance.calibration import Calibration, Evidence, calibrate
from train.metrics.relevance.encoder import DualEncoder
from train.metrics.relevance.examples import (
    Overlaps,
    Texts,
    different_texts,
    split_by_dialogue,
)
from train.metrics.relevance.features import Features
from train.metrics.relevance.matcher import (
    Matcher,
    Vectors,
    Words,
    chosen,
    cosines,
    ranks,
    shares,
)
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
            f"on {self.pairs:,} held-out training pairs the classifier tells the response from a "
            f"random reply in {self.accuracy:.1%} of cases and ranks it {self.mean_rank:.1f} of "
            f"{CANDIDATES} on average (50.5 by chance); mean probability {self.relevance:.3f}, of "
            f"random replies {self.relevance_of_random:.3f}, of an echo of the post "
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
    posts = [texts.words[place] for place in texts.posts[split.held_out]]
    replies = [texts.words[place] for place in texts.replies[split.held_out]]
    calibration, quality = measured(matcher, posts, replies, seed)
    others = tuple(kept[row].response for row in split.held_out)
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


def measured(
    matcher: Matcher, posts: Sequence[Words], replies: Sequence[Words], seed: int
) -> tuple[Calibration, Quality]:
    """Calibrate and measure on the same held-out pairs: three numbers cannot learn them."""
    u, v = matcher.posts(posts), matcher.replies(replies)
    own = Evidence(cosines(u, v), shares(posts, replies))
    random = _random_evidence(posts, replies, u, v, np.random.default_rng(seed))
    echo = matcher.evidence(posts, posts)
    part = matcher.evidence(posts, [post[len(post) // 2 :] for post in posts])
    calibration = calibrate(own, random, echo, part)
    truth, chance = calibration.probability(own), calibration.probability(random)
    choices = [chosen(" ".join(post), len(v), seed) for post in posts]
    return calibration, Quality(
        pairs=len(posts),
        accuracy=float(((truth > 0.5).mean() + (chance <= 0.5).mean()) / 2),
        mean_rank=float(ranks(calibration, own, u, v, choices).mean()),
        relevance=float(truth.mean()),
        relevance_of_random=float(chance.mean()),
        relevance_of_echo=float(calibration.probability(echo).mean()),
    )


def _random_evidence(
    posts: Sequence[Words],
    replies: Sequence[Words],
    u: Vectors,
    v: Vectors,
    random: np.random.Generator,
) -> Evidence:
    """Every post with some responses to others."""
    order = random.permutation(len(posts))
    back = np.argsort(order)
    shifts = np.concatenate([np.roll(order, shift + 1)[back] for shift in range(_SHIFTS)])
    return Evidence(
        cosines(np.tile(u, (_SHIFTS, 1)), v[shifts]),
        shares([*posts] * _SHIFTS, [replies[place] for place in shifts]),
    )
