"""What the replies to one context count: a vector of numbers that add up over contexts.

Knows nothing of the figures made of the sums, nor of where replies come from.
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from dialog_service.diversity import distinct_ratio, metric_tokens
from train.metrics.overlap import MAX_ORDER, BleuCounts, self_bleu

DRAWS = 10  # of the figure "unique of 10"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One context to answer: its turns, the responses people gave, the dialogue it is from.

    ``replies`` are those of the system in question where they were read from a file.
    """

    dialogue: str
    context: tuple[str, ...]
    responses: tuple[str, ...]
    replies: tuple[str, ...] = ()


class Column(enum.IntEnum):
    """Places of a context's counts in a vector; BLEU's own follow from ``BLEU`` on.

    Counts that figures are divided by stand before what they divide.
    """

    CONTEXTS = 0
    TOKENS = 1
    SET_PRECISION = 2
    SET_RECALL = 3
    INTRA_DIST_1 = 4
    INTRA_DIST_2 = 5
    SEVERAL = 6  # one where the context has several replies
    INTER_DIST_1 = 7
    INTER_DIST_2 = 8
    SELF_BLEU_2 = 9
    SELF_BLEU_4 = 10
    DRAWN = 11  # one where ten replies were drawn
    UNIQUE = 12
    JUDGED = 13  # one where the relevance of the replies was judged: see ``judgement``
    RELEVANCE = 14
    RELEVANCE_ALL = 15
    RANK = 16
    RECIPROCAL_RANK = 17
    LOOKED_UP = 18  # one where a corpus's word frequencies were to hand: see ``unigrams``
    SURPRISAL = 19
    KNOWN_WORDS = 20
    LM_TOKENS = 21  # of the first reply, where a language model was to hand: see ``fluency``
    LM_NATS = 22
    LM_TOKENS_ALL = 23  # of all replies
    LM_NATS_ALL = 24
    BLEU = 25


WIDTH = Column.BLEU + 2 + 2 * MAX_ORDER


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Of one context: how many replies, the words of the first, and the (WIDTH,) numbers."""

    dialogue: str
    replies: int
    words: list[str]
    vector: list[float]


@dataclass(frozen=True, slots=True)
class ContextCounter:
    """Counts the replies of one system.

    ``count`` replies a context make its pool, all of them where it is None; more of them than that
    were drawn for "unique of 10" alone. Where the replies are the responses themselves, overlap
    with the response is left out.
    """

    count: int | None = None
    is_response: bool = False

    def of(self, case: Case, replies: Sequence[str]) -> Counts:
        """Count one context's replies; the first stands for the context, the rest for its pool."""
        drawn = [metric_tokens(reply) for reply in replies]
        pool = drawn[: self.count]
        numbers = {
            Column.CONTEXTS: 1.0,
            Column.TOKENS: len(pool[0]),
            Column.INTRA_DIST_1: _mean([distinct_ratio([words], 1) for words in pool]),
            Column.INTRA_DIST_2: _mean([distinct_ratio([words], 2) for words in pool]),
            **_sibling_numbers(pool),
            **self._draw_numbers(drawn),
        }
        vector = [0.0] * WIDTH
        for column, number in numbers.items():
            vector[column] = number
        if not self.is_response:
            self._add_overlap(vector, pool, [metric_tokens(text) for text in case.responses])
        return Counts(dialogue=case.dialogue, replies=len(pool), words=pool[0], vector=vector)

    def _draw_numbers(self, drawn: Sequence[list[str]]) -> dict[Column, float]:
        """Different ones among ten, where ten were asked for: of people nobody asks for any."""
        asked = len(drawn) if self.is_response else max(self.count or 0, len(drawn))
        if asked < DRAWS:
            return {}
        return {Column.DRAWN: 1, Column.UNIQUE: len({tuple(words) for words in drawn[:DRAWS]})}

    @staticmethod
    def _add_overlap(
        vector: list[float], pool: Sequence[list[str]], responses: Sequence[list[str]]
    ) -> None:
        """BLEU's counts of the first reply; mean and maximum of the pool's sentence BLEU-2."""
        counts = [BleuCounts.of(words, responses) for words in pool]
        scores = [each.sentence_bleu(2) for each in counts]
        vector[Column.SET_PRECISION] = _mean(scores)
        vector[Column.SET_RECALL] = max(scores)
        vector[Column.BLEU :] = counts[0].as_vector()


def _sibling_numbers(pool: Sequence[list[str]]) -> dict[Column, float]:
    """Of the replies to one context among themselves, where there are several."""
    if len(pool) < 2:
        return {}
    two, four = self_bleu(pool)
    return {
        Column.SEVERAL: 1,
        Column.INTER_DIST_1: distinct_ratio(pool, 1),
        Column.INTER_DIST_2: distinct_ratio(pool, 2),
        Column.SELF_BLEU_2: two,
        Column.SELF_BLEU_4: four,
    }


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
