"""What the classifier sees of a text: its words and its pairs of neighbouring words."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise

from train.metrics.relevance.bags import Bags

_START, _END = "<s>", "</s>"
_LONGEST = 60  # words of a text; what follows is left out


def features_of(words: Sequence[str]) -> list[str]:
    """Words, then pairs of neighbours, the ends of the text among these."""
    kept = words[:_LONGEST]
    framed = (_START, *kept, _END)
    return [*kept, *(f"{one} {other}" for one, other in pairwise(framed))]


def copied_share(post: Sequence[str], reply: Sequence[str]) -> float:
    """The share of a reply's features, words and neighbours, that the post has too, 0 to 1.

    1 of an echo, .5 of its words in another order; on DailyDialog .1 of the typical response and
    above .35 of one response in twenty.
    """
    held = set(features_of(post))
    features = features_of(reply)
    return sum(name in held for name in features) / len(features)


class Features:
    """The features that are frequent enough to learn, numbered from 0; the others do not count."""

    def __init__(self, names: Sequence[str]) -> None:
        """Number the names in their order."""
        self.names = tuple(names)
        self._numbers = {name: number for number, name in enumerate(self.names)}

    @classmethod
    def fit(
        cls, texts: Iterable[Sequence[str]], *, least_words: int, least_pairs: int
    ) -> "Features":
        """Those found in enough texts.

        Args:
            texts: metric tokens of each.
            least_words: texts that a word must be in.
            least_pairs: texts that a pair of neighbours must be in.
        """
        counts = Counter(name for words in texts for name in dict.fromkeys(features_of(words)))
        return cls(
            [
                name
                for name, count in counts.most_common()
                if count >= (least_pairs if " " in name else least_words)
            ]
        )

    def __len__(self) -> int:
        """How many there are."""
        return len(self.names)

    def is_word(self) -> list[bool]:
        """For each feature whether it is a single word."""
        return [" " not in name for name in self.names]

    def bags(self, texts: Iterable[Sequence[str]]) -> Bags:
        """The features of each text, given as its metric tokens."""
        numbers = self._numbers
        return Bags.of(
            [numbers[name] for name in features_of(words) if name in numbers] for words in texts
        )
