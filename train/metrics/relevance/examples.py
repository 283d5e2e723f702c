"""Training pairs made ready: bags of every text, and replies that should not pass for good ones.

Negatives of three kinds keep overlap from being taken for sense: the responses of other pairs,
the post itself as a reply, and responses that share a rare word with the post and nothing else is
known to speak for them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dialog_service.diversity import metric_tokens
from train.data.pairs import Pair
from train.metrics.relevance.bags import Bags, Ints

_RAREST = 3  # words of a post that may find an overlapping reply


@dataclass(frozen=True, slots=True)
class Texts:
    """U different texts, each once, as metric tokens, and the places of N posts and replies."""

    words: list[list[str]]
    posts: Ints
    replies: Ints

    @classmethod
    def of(cls, pairs: Sequence[Pair], texts: Iterable[str]) -> "Texts":
        """Tokenise; ``texts`` are those of ``different_texts``, perhaps watched by a bar."""
        words, places = [], {}
        for place, text in enumerate(texts):
            places[text] = place
            words.append(metric_tokens(text))
        return cls(
            words,
            np.array([places[pair.context[-1]] for pair in pairs], dtype=np.int64),
            np.array([places[pair.response] for pair in pairs], dtype=np.int64),
        )


def different_texts(pairs: Sequence[Pair]) -> list[str]:
    """Posts and responses, each once: most turns of a dialogue are both."""
    return list(dict.fromkeys(text for p in pairs for text in (p.context[-1], p.response)))


@dataclass(frozen=True, slots=True)
class Split:
    """Rows to learn from and rows kept apart, no dialogue in both."""

    learned: Ints
    held_out: Ints


def split_by_dialogue(pairs: Sequence[Pair], share: float, random: np.random.Generator) -> Split:
    """Keep a share of the dialogues apart, at least one; there are at least two."""
    dialogues = np.array([pair.dialog for pair in pairs])
    different = random.permutation(np.unique(dialogues))
    kept_apart = different[: max(1, round(share * len(different)))]
    is_held_out = np.isin(dialogues, kept_apart)
    return Split(np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out))


class Overlaps:
    """For a post, responses to other posts that hold one of its rarest words."""

    def __init__(self, bags: Bags, posts: Ints, replies: Ints, is_word: Sequence[bool]) -> None:
        """Index the responses.

        Args:
            bags: of U texts.
            posts: (N,) the text of each post.
            replies: (N,) the text of each response.
            is_word: for each feature; pairs of neighbours are left out.
        """
        held = bags.take(replies)
        rows = np.repeat(replies, held.lengths)
        order = np.argsort(held.ids, kind="stable")
        self._holders = rows[order]  # texts, word by word
        self._counts = np.bincount(held.ids, minlength=len(is_word))
        self._starts = np.cumsum(self._counts) - self._counts
        self._words = self._rarest(bags.take(posts), np.array(is_word, dtype=bool))

    def draw(self, rows: Ints, random: np.random.Generator) -> Ints:
        """(B,) a text for each of some rows; -1 where no response shares a word with the post."""
        if not len(self._holders):
            return np.full(len(rows), -1)
        words = self._words[rows, random.integers(_RAREST, size=len(rows))]
        counts = np.where(words < 0, 0, self._counts[words])
        place = self._starts[words] + (random.random(len(rows)) * counts).astype(np.int64)
        return np.where(counts > 0, self._holders[np.minimum(place, len(self._holders) - 1)], -1)

    def _rarest(self, posts: Bags, is_word: npt.NDArray[np.bool_]) -> Ints:
        """(N, _RAREST) words of each post that responses hold, rarest first, repeated to fill."""
        found = np.full((len(posts.lengths), _RAREST), -1)
        for row, ids in enumerate(np.split(posts.ids, np.cumsum(posts.lengths)[:-1])):
            words = np.unique(ids[is_word[ids] & (self._counts[ids] > 0)])
            if len(words):
                rarest = words[np.argsort(self._counts[words], kind="stable")][:_RAREST]
                found[row] = np.resize(rarest, _RAREST)
        return found
