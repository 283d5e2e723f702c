"""Texts as bags of feature ids, all of a batch in one row of numbers."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Bags:
    """B bags: their feature ids one after another (N,), and how many each has (B,)."""

    ids: Ints
    lengths: Ints

    @classmethod
    def of(cls, bags: Iterable[Sequence[int]]) -> "Bags":
        """Each bag given as its ids."""
        held = list(bags)
        lengths = np.array([len(bag) for bag in held], dtype=np.int64)
        ids = np.fromiter((i for bag in held for i in bag), np.int64, int(lengths.sum()))
        return cls(ids, lengths)

    @property
    def starts(self) -> Ints:
        """(B,) where each bag begins in ``ids``."""
        return np.cumsum(self.lengths) - self.lengths

    def take(self, rows: Ints) -> "Bags":
        """The bags of some rows, in their order, repeats allowed."""
        lengths = self.lengths[rows]
        ends = np.cumsum(lengths)
        shift = np.repeat(self.starts[rows] - (ends - lengths), lengths)
        return Bags(self.ids[shift + np.arange(lengths.sum())], lengths)

    def thinned(self, rate: float, random: np.random.Generator) -> "Bags":
        """Without a share ``rate`` of the ids, drawn blindly."""
        kept = random.random(len(self.ids)) >= rate
        rows = np.repeat(np.arange(len(self.lengths)), self.lengths)[kept]
        return Bags(self.ids[kept], np.bincount(rows, minlength=len(self.lengths)))
