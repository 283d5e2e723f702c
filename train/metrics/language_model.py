"""An n-gram language model of a corpus's responses, which tells how fluent replies are.

Interpolated Kneser-Ney (Kneser and Ney, 1995; Chen and Goodman, 1999), all texts of a batch at
once: an n-gram is one number, and counts are looked up in sorted rows of these.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dialog_service.diversity import metric_tokens
from train.metrics.fluency import Fluency

ORDER = 4
MAX_WORDS = 50_000  # with the three numbers below, four of them still fit into 64 bits
_UNKNOWN, _START, _END, _FIRST_WORD = 0, 1, 2, 3
_BASE = _FIRST_WORD + MAX_WORDS

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Table:
    """Numbers of n-grams, sorted, each with a count."""

    grams: Ints
    counts: Floats

    def __call__(self, grams: Ints) -> Floats:
        """The counts of some; 0 of those it lacks."""
        place = np.minimum(np.searchsorted(self.grams, grams), len(self.grams) - 1)
        return np.where(self.grams[place] == grams, self.counts[place], 0.0)


@dataclass(frozen=True, slots=True)
class _Level:
    """What follows histories of one length: how often each, how much in all, how many words."""

    followed: _Table
    totals: _Table
    kinds: _Table
    discount: float

    @classmethod
    def of(cls, windows: Ints, counts: Floats) -> "_Level":
        """From different n-grams, (G, n), and how often each counts, (G,)."""
        grams, order = np.unique(_numbers(windows), return_index=True)
        histories, place = np.unique(_numbers(windows[order, :-1]), return_inverse=True)
        kinds: Floats = np.bincount(place).astype(np.float64)
        totals: Floats = np.bincount(place, counts[order]).astype(np.float64)
        return cls(
            followed=_Table(grams, counts[order]),
            totals=_Table(histories, totals),
            kinds=_Table(histories, kinds),
            discount=_discount(counts),
        )

    def interpolated(self, windows: Ints, shorter: Floats) -> Floats:
        """The p of each window's last word given the others, (M,), from p given one word less."""
        history = _numbers(windows[:, :-1])
        total = self.totals(history)
        kept = np.maximum(self.followed(_numbers(windows)) - self.discount, 0.0)
        left = self.discount * self.kinds(history)
        mixed = (kept + left * shorter) / np.maximum(total, 1.0)
        return np.where(total > 0, mixed, shorter)


class NgramModel:
    """p(reply) = product of p(word | the three before), its end among the words.

    Counts of shorter n-grams are those of different words before them, as Kneser and Ney have it;
    below words alone every word that the corpus has, the end and "any other" are alike. Of more
    than ``MAX_WORDS`` words the rarer ones are "any other".
    """

    def __init__(self, texts: Iterable[str]) -> None:
        """Count the metric tokens of some texts, at least one."""
        tokens = [metric_tokens(text) for text in texts]
        counts = Counter(word for words in tokens for word in words)
        frequent = sorted(counts, key=lambda word: (-counts[word], word))[:MAX_WORDS]
        self._numbers = {word: _FIRST_WORD + place for place, word in enumerate(frequent)}
        windows, times = _different(self._windows(tokens))
        self._fingerprint = hashlib.sha256(
            "\n".join(frequent).encode() + windows.tobytes() + times.tobytes()
        ).hexdigest()[:16]
        self._uniform = 1 / (len(frequent) + 2)
        levels = [_Level.of(windows, times)]
        for _ in range(ORDER - 1):
            windows, times = _different(windows[:, 1:])
            levels.append(_Level.of(windows, times))
        self._levels = tuple(reversed(levels))  # words alone first

    @property
    def fingerprint(self) -> str:
        """The same for the same counts."""
        return self._fingerprint

    def fluency(self, replies: Sequence[Sequence[str]]) -> list[Fluency]:
        """Of the replies to each context, at least one each, in order."""
        tokens = [metric_tokens(reply) for pool in replies for reply in pool]
        lengths = [len(words) + 1 for words in tokens]
        surprisals = -np.log(self._probabilities(self._windows(tokens)))
        nats = iter(np.add.reduceat(surprisals, np.cumsum([0, *lengths[:-1]])).tolist())
        sizes = iter(lengths)
        return [
            Fluency(nats=tuple(next(nats) for _ in pool), tokens=tuple(next(sizes) for _ in pool))
            for pool in replies
        ]

    def _probabilities(self, windows: Ints) -> Floats:
        """(M, ORDER) -> (M,) p of the last word of each window given the others."""
        found = np.full(len(windows), self._uniform)
        for length, level in enumerate(self._levels, start=1):
            found = level.interpolated(windows[:, ORDER - length :], found)
        return found

    def _windows(self, texts: Sequence[Sequence[str]]) -> Ints:
        """(M, ORDER) every word of some texts, and every end, behind what stands before it."""
        numbers = [self._padded(words) for words in texts]
        line = np.fromiter((n for text in numbers for n in text), np.int64)
        every: Ints = np.lib.stride_tricks.sliding_window_view(line, ORDER)
        found: Ints = every[every[:, -1] != _START]
        return found

    def _padded(self, words: Sequence[str]) -> list[int]:
        known = (self._numbers.get(word, _UNKNOWN) for word in words)
        return [*[_START] * (ORDER - 1), *known, _END]


def _different(windows: Ints) -> tuple[Ints, Floats]:
    """Rows (G, n) without repeats, sorted, and how often each was there (G,)."""
    _, first, counts = np.unique(_numbers(windows), return_index=True, return_counts=True)
    return windows[first], counts.astype(np.float64)


def _numbers(windows: Ints) -> Ints:
    """(G, n) -> (G,) a number for every row, the same for the same rows alone."""
    found = np.zeros(len(windows), np.int64)
    for column in windows.T:
        found = found * _BASE + column
    return found


def _discount(counts: Floats) -> float:
    """Taken off every count: n1 / (n1 + 2 n2), of n-grams seen once and twice (Ney et al., 1994).

    One half where there are none of either: nothing would be left for what was not seen, or all.
    """
    once, twice = int((counts == 1).sum()), int((counts == 2).sum())
    return once / (once + 2 * twice) if once and twice else 0.5
