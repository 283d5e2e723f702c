"""How often each word occurs in a corpus, and how surprising that makes it."""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from dialog_service.diversity import metric_tokens
from train.metrics.counting import Column, Counts

EPSILON = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Familiarity:
    """How a corpus finds the words of one reply; both add up over replies.

    ``surprisal_nats`` is the sum over the words, ``known_words`` how many the corpus has.
    """

    surprisal_nats: float
    known_words: int


class Unigrams:
    """Word frequencies of a corpus, smoothed.

    q(w) = (n(w) + epsilon) / (N + epsilon (W + 1)) with N words in all, W different ones: a word
    that the corpus lacks counts as epsilon of one, or replies with one would be infinitely far.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        """Count the metric tokens of some texts."""
        self._counts: Counter[str] = Counter()
        for text, times in Counter(texts).items():  # tokenising is dear and many texts repeat
            self._counts.update({word: n * times for word, n in _counted(text).items()})
        self._log_mass = math.log(self._counts.total() + EPSILON * (len(self._counts) + 1))

    def __contains__(self, word: str) -> bool:
        """Whether the corpus has the word."""
        return word in self._counts

    def surprisal_nats(self, word: str) -> float:
        """-ln q(word)."""
        return self._log_mass - math.log(self._counts[word] + EPSILON)

    def familiarity(self, words: Sequence[str]) -> Familiarity:
        """Of one reply, given as its metric tokens."""
        return Familiarity(
            surprisal_nats=math.fsum(map(self.surprisal_nats, words)),
            known_words=sum(word in self for word in words),
        )

    @property
    def fingerprint(self) -> str:
        """The same for the same frequencies."""
        said = json.dumps([EPSILON, sorted(self._counts.items())])
        return hashlib.sha256(said.encode()).hexdigest()[:16]


def with_familiarity(counts: Counts, familiarity: Familiarity) -> Counts:
    """One context's counts with what a corpus finds of the words of its first reply."""
    vector = list(counts.vector)
    vector[Column.LOOKED_UP] = 1.0
    vector[Column.SURPRISAL] = familiarity.surprisal_nats
    vector[Column.KNOWN_WORDS] = familiarity.known_words
    return replace(counts, vector=vector)


def _counted(text: str) -> Counter[str]:
    return Counter(metric_tokens(text))
