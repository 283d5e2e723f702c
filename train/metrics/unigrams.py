"""How often each word occurs in a corpus, and how surprising that makes it."""

import math
from collections import Counter
from collections.abc import Iterable

from dialog_service.diversity import metric_tokens

EPSILON = 0.01


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


def _counted(text: str) -> Counter[str]:
    return Counter(metric_tokens(text))
