"""Texts to vectors of a learned encoder, evidence of pairs, and who a reply is ranked against."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from train.metrics.judgement import CANDIDATES
from train.metrics.relevance.bags import Bags, Ints
from train.metrics.relevance.calibration import Calibration, Evidence
from train.metrics.relevance.encoder import DualEncoder, Tower
from train.metrics.relevance.features import Features, copied_share

Floats = npt.NDArray[np.float64]
Words = Sequence[str]
Vectors = npt.NDArray[np.float32]
_CHUNK = 1024  # texts encoded at once
_TIE = 1e-4  # of logits: the rounding of the same text in different company


@dataclass(frozen=True, slots=True)
class Matcher:
    """A learned encoder and the features it knows."""

    features: Features
    encoder: DualEncoder

    def posts(self, texts: Sequence[Words]) -> Vectors:
        """(B, D) unit vectors of posts, given as metric tokens."""
        return encoded(self.encoder.posts, self.features.bags(texts))

    def replies(self, texts: Sequence[Words]) -> Vectors:
        """(B, D) unit vectors of replies, given as metric tokens."""
        return encoded(self.encoder.replies, self.features.bags(texts))

    def evidence(self, posts: Sequence[Words], replies: Sequence[Words]) -> Evidence:
        """Of B posts, each with its reply."""
        u, v = self.posts(posts), self.replies(replies)
        return Evidence(cosines(u, v), shares(posts, replies))


def shares(posts: Sequence[Words], replies: Sequence[Words]) -> Floats:
    """(B,) how much of each reply is copied from its post."""
    return np.array([copied_share(*pair) for pair in zip(posts, replies, strict=True)], np.float64)


@torch.inference_mode()
def encoded(tower: Tower, bags: Bags) -> Vectors:
    """(B, D) float32 unit vectors of B bags, chunk by chunk."""
    rows = np.arange(len(bags.lengths))
    parts = [
        tower(bags.take(rows[start : start + _CHUNK])).numpy()
        for start in range(0, len(rows), _CHUNK)
    ]
    return np.concatenate([np.zeros((0, tower.width), np.float32), *parts])


def cosines(posts: Vectors, replies: Vectors) -> Floats:
    """(B,) of each post with its reply."""
    found: Floats = np.einsum("bd,bd->b", posts, replies, dtype=np.float64)
    return found


def ranks(
    calibration: Calibration,
    own: Evidence,
    posts: Vectors,
    others: Vectors,
    choices: Sequence[Ints],
) -> Floats:
    """(B,) from 1 to K + 1: the place of each reply among K others, halves where they tie.

    Others count as not copied, which random ones hardly ever are.

    Args:
        calibration: what makes logits.
        own: of B replies.
        posts: (B, D).
        others: (O, D) all there are.
        choices: B times the places of the K others.
    """
    found = np.empty(len(posts))
    for row, (logit, choice) in enumerate(zip(calibration.logits(own), choices, strict=True)):
        near = (others[choice] @ posts[row]).astype(np.float64)  # (K,)
        theirs = calibration.logits(Evidence(near, np.zeros(len(near))))
        is_level = np.abs(theirs - logit) <= _TIE
        found[row] = 1 + ((theirs > logit) & ~is_level).sum() + is_level.sum() / 2
    return found


def chosen(post: str, count: int, seed: int) -> Ints:
    """(99,) places among ``count`` replies: always the same for a post, so that rows compare.

    ``post`` is its metric tokens, joined.
    """
    digest = hashlib.blake2b(f"{seed}/{post}".encode(errors="surrogatepass"), digest_size=8)
    random = np.random.default_rng(int.from_bytes(digest.digest()))
    return random.integers(count, size=CANDIDATES - 1)
