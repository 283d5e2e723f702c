"""The rows of the table that need no model, first those no figure should be read without.

Human responses bound diversity from above; random training replies show what diversity costs
nothing; an echo of the post and BM25 retrieval show what overlap costs nothing.
"""

import enum
import random
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from typing import Protocol

from dialog_service.diversity import metric_tokens
from train.metrics.postings import Bm25
from train.metrics.scoring import Case


class Role(enum.StrEnum):
    """What a row is there for: to be judged, or to judge by."""

    SYSTEM = "system"
    HUMAN = "human"
    NULL = "null"


class System(Protocol):
    """Whatever answers contexts: a row of the table.

    ``decoding`` says how replies come about, ``count`` how many are asked for per context.
    """

    @property
    def name(self) -> str:
        """What the table calls the row."""

    @property
    def role(self) -> Role:
        """What the row is there for."""

    @property
    def decoding(self) -> str:
        """One line for the signature."""

    @property
    def count(self) -> int:
        """Replies per context, at most."""

    def answer(self, cases: Sequence[Case]) -> list[tuple[str, ...]]:
        """Replies to each case, at least one each."""


class GivenReplies:
    """Replies that came with the cases."""

    role = Role.SYSTEM
    decoding = "as in the file"

    def __init__(self, name: str, *, count: int) -> None:
        """The first ``count`` of each case."""
        self.name = name
        self.count = count

    def answer(self, cases: Sequence[Case]) -> list[tuple[str, ...]]:
        """What the cases carry."""
        return [case.replies[: self.count] for case in cases]


class Human:
    """The responses people gave."""

    name = "human"
    role = Role.HUMAN
    decoding = "the responses themselves"

    def __init__(self, *, count: int) -> None:
        """Up to ``count`` responses a context, where there are several."""
        self.count = count

    def answer(self, cases: Sequence[Case]) -> list[tuple[str, ...]]:
        """The first responses of each case."""
        return [case.responses[: self.count] for case in cases]


class Echo:
    """The post itself."""

    name = "echo of the post"
    role = Role.NULL
    decoding = "the last turn of the context"
    count = 1

    def answer(self, cases: Sequence[Case]) -> list[tuple[str, ...]]:
        """The last turn of each context."""
        return [case.context[-1:] for case in cases]


class RandomReplies:
    """Training replies drawn blindly, each as long as the human response, in metric tokens."""

    name = "random training replies"
    role = Role.NULL

    def __init__(self, replies: Sequence[str], *, count: int, seed: int) -> None:
        """Sort the replies by length.

        Args:
            replies: of the training split; at least one.
            count: replies per context.
            seed: of the draws.
        """
        self._by_length: defaultdict[int, list[str]] = defaultdict(list)
        for reply in replies:
            self._by_length[len(metric_tokens(reply))].append(reply)
        self._lengths = sorted(self._by_length)
        self.count = count
        self._random = random.Random(seed)
        self.decoding = f"uniform among those as long as the response, seed {seed}"

    def answer(self, cases: Sequence[Case]) -> list[tuple[str, ...]]:
        """Draws without replacement for each case; the next longer ones where none is as long."""
        return [self._draw(len(metric_tokens(case.responses[0]))) for case in cases]

    def _draw(self, length: int) -> tuple[str, ...]:
        place = min(bisect_left(self._lengths, length), len(self._lengths) - 1)
        choice = self._by_length[self._lengths[place]]
        return tuple(self._random.sample(choice, min(self.count, len(choice))))


class RetrievedReplies:
    """The replies to the training posts nearest to the post by BM25."""

    name = "BM25 over training posts"
    role = Role.NULL
    decoding = "replies to the nearest posts, rank_bm25 Okapi k1=1.5 b=0.75"

    def __init__(self, posts: Sequence[str], replies: Sequence[str], *, count: int) -> None:
        """Index the posts.

        Args:
            posts: last turns of the training contexts; at least one has a word.
            replies: the reply to each.
            count: replies per context.
        """
        self._index = Bm25([metric_tokens(post) for post in posts])
        self._replies = replies
        self.count = count

    def answer(self, cases: Sequence[Case]) -> list[tuple[str, ...]]:
        """The best different replies of each case."""
        return [self._nearest(metric_tokens(case.context[-1])) for case in cases]

    def _nearest(self, post: Sequence[str]) -> tuple[str, ...]:
        places = self._index.best(post, 8 * self.count)  # popular replies repeat
        different = dict.fromkeys(self._replies[place] for place in places)
        return tuple(different)[: self.count]
