"""Texts to vectors of a learned encoder, and the rank of a reply among others."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from dialog_service.diversity import metric_tokens
from train.metrics.judgement import CANDIDATES
from train.metrics.relevance.bags import Bags, Ints
from train.metrics.relevance.encoder import DualEncoder, Tower
from train.metrics.relevance.features import Features

Floats = npt.NDArray[np.float64]
Vectors = npt.NDArray[np.float32]
_CHUNK = 1024  # texts encoded at once
_TIE = 1e-5  # of cosines: the rounding of the same text in different company


@dataclass(frozen=True, slots=True)
class Matcher:
    """A learned encoder and the features it knows."""

    features: Features
    encoder: DualEncoder

    def posts(self, texts: Sequence[str]) -> Vectors:
        """(B, D) unit vectors of posts."""
        return encoded(self.encoder.posts, self._bags(texts))

    def replies(self, texts: Sequence[str]) -> Vectors:
        """(B, D) unit vectors of replies."""
        return encoded(self.encoder.replies, self._bags(texts))

    def _bags(self, texts: Sequence[str]) -> Bags:
        return self.features.bags([metric_tokens(text) for text in texts])


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


def ranks(posts: Vectors, replies: Vectors, others: Vectors) -> Floats:
    """(B,) from 1 to K + 1: the place of each reply among K others, halves where they tie.

    Args:
        posts: (B, D).
        replies: (B, D).
        others: (B, K, D).
    """
    own = cosines(posts, replies)[:, None]
    theirs = np.einsum("bd,bkd->bk", posts, others, dtype=np.float64)
    ties = np.abs(theirs - own) <= _TIE
    found: Floats = 1 + ((theirs > own) & ~ties).sum(1) + ties.sum(1) / 2
    return found


def chosen(post: str, count: int, seed: int) -> Ints:
    """(99,) places among ``count`` replies: always the same for a post, so that rows compare."""
    digest = hashlib.blake2b(f"{seed}/{post}".encode(errors="surrogatepass"), digest_size=8)
    random = np.random.default_rng(int.from_bytes(digest.digest()))
    return random.integers(count, size=CANDIDATES - 1)
