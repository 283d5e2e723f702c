"""BLEU of replies from additive counts, and the overlap of two bags of words.

sacreBLEU counts and scores; nothing here counts n-grams. Texts are metric tokens, joined by
single spaces for sacreBLEU's ``tokenize=none``. Knows nothing of corpora or models.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sacrebleu.metrics.bleu import BLEU

MAX_ORDER = 4
# effective_order silences sacreBLEU's warning about sentences; it does not touch the counts.
_COUNTER = BLEU(
    tokenize="none", smooth_method="none", max_ngram_order=MAX_ORDER, effective_order=True
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BleuCounts:
    """What corpus BLEU adds up over sentences (Papineni et al., 2002)."""

    reply_tokens: int
    response_tokens: int
    matches: tuple[int, ...]  # n-grams of order 1..4 also found in a reference, clipped
    totals: tuple[int, ...]  # n-grams of order 1..4 of the reply

    @classmethod
    def of(cls, reply: Sequence[str], references: Sequence[Sequence[str]]) -> "BleuCounts":
        """Counts of one reply against one or more references, the closest length among them."""
        score = _COUNTER.sentence_score(" ".join(reply), [" ".join(words) for words in references])
        return cls(
            reply_tokens=score.sys_len,
            response_tokens=score.ref_len,
            matches=tuple(score.counts),
            totals=tuple(score.totals),
        )

    @classmethod
    def from_vector(cls, vector: npt.NDArray[np.float64]) -> "BleuCounts":
        """The inverse of ``as_vector``."""
        numbers = [round(value) for value in vector.tolist()]
        return cls(
            reply_tokens=numbers[0],
            response_tokens=numbers[1],
            matches=tuple(numbers[2 : 2 + MAX_ORDER]),
            totals=tuple(numbers[2 + MAX_ORDER :]),
        )

    def as_vector(self) -> list[int]:
        """(2 + 2 x 4,) numbers that may be summed over sentences."""
        return [self.reply_tokens, self.response_tokens, *self.matches, *self.totals]

    def bleu(self, order: int) -> float:
        """BLEU x100, uniform weights up to ``order``, unsmoothed: 0 if an order never matches."""
        return float(
            BLEU.compute_bleu(
                correct=list(self.matches[:order]),
                total=list(self.totals[:order]),
                sys_len=self.reply_tokens,
                ref_len=self.response_tokens,
                max_ngram_order=order,
            ).score
        )

    def sentence_bleu(self, order: int) -> float:
        """Sentence BLEU in 0..1 up to ``order``, one added to matches and total where none match.

        Orders longer than the sentence are left out, or a short reply would score for what it
        does not have; without one shared word it is 0.
        """
        if not self.matches[0]:
            return 0.0
        none = [total > 0 and not match for match, total in self._orders(order)]
        return (
            float(
                BLEU.compute_bleu(
                    correct=[m + n for m, n in zip(self.matches, none, strict=False)],
                    total=[t + n for t, n in zip(self.totals, none, strict=False)],
                    sys_len=self.reply_tokens,
                    ref_len=self.response_tokens,
                    effective_order=True,
                    max_ngram_order=order,
                ).score
            )
            / 100
        )

    def _orders(self, order: int) -> list[tuple[int, int]]:
        return list(zip(self.matches[:order], self.totals[:order], strict=True))


def self_bleu(replies: Sequence[Sequence[str]]) -> tuple[float, float]:
    """Self-BLEU-2 and -4 of one context's replies: each against its siblings, averaged.

    Zhu et al. (2018), with ``BleuCounts.sentence_bleu``; in 0..1, 1 where all are the same.

    Raises:
        ValueError: fewer than two replies have no siblings.
    """
    if len(replies) < 2:
        raise ValueError("self-BLEU needs at least two replies")
    counts = [
        BleuCounts.of(reply, [*replies[:place], *replies[place + 1 :]])
        for place, reply in enumerate(replies)
    ]
    two, four = ([c.sentence_bleu(order) for c in counts] for order in (2, 4))
    return sum(two) / len(two), sum(four) / len(four)


def token_f1(one: Sequence[str], other: Sequence[str]) -> float:
    """F1 of two bags of words: 2 |intersection| / (|one| + |other|); 0 where both are empty."""
    words = len(one) + len(other)
    shared = (Counter(one) & Counter(other)).total()
    return 2 * shared / words if words else 0.0
