"""How well a reply fits its post, by a classifier of its own, learned from training pairs alone.

Nothing that chooses replies may use it, or it would praise its own choice. It sees the last turn
of a context, words and pairs of neighbours, so it judges the matter of a reply, not its grammar.
"""

import hashlib
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import accumulate, chain, pairwise

import numpy as np
from rich.console import Console

from dialog_service.diversity import metric_tokens
from train.data.pairs import Pair
from train.metrics.judgement import CANDIDATES, Judgement
from train.metrics.relevance.cache import cache_folder, read_checked, write_checked
from train.metrics.relevance.calibration import Evidence
from train.metrics.relevance.learning import Learned, Quality, learn
from train.metrics.relevance.matcher import Floats, Vectors, chosen, cosines, ranks, shares
from train.metrics.relevance.settings import RelevanceSettings
from train.metrics.relevance.storage import key_of, packed, unpacked

Context = tuple[str, ...]


class RelevanceScorer:
    """Judges replies; a reply's figures depend on nothing but the post, the reply and the seed."""

    def __init__(self, learned: Learned, *, seed: int) -> None:
        """Judge with a learned classifier; ``seed`` draws the random replies of ranks."""
        self._learned = learned
        self._seed = seed

    @classmethod
    def train_or_load(
        cls,
        train_pairs: Sequence[Pair],
        *,
        seed: int,
        console: Console,
        settings: RelevanceSettings | None = None,
    ) -> "RelevanceScorer":
        """The classifier of these pairs, from the cache where it is there and sound.

        Args:
            train_pairs: of the training split, without dialogues that repeat an evaluation one.
            seed: of the training and of the random replies of ranks.
            console: for the bars, and for a line where the cache cannot be written.
            settings: None is the default.

        Raises:
            ConfigError: all pairs are of one dialogue, so that nothing can be held out.
        """
        chosen_settings = settings or RelevanceSettings()
        key = key_of(train_pairs, chosen_settings, seed)
        path = cache_folder() / f"relevance-{key[:32]}.bin"
        if (payload := read_checked(path)) is not None:
            return cls(unpacked(payload, chosen_settings), seed=seed)
        learned = learn(train_pairs, chosen_settings, seed=seed, console=console)
        try:
            write_checked(path, packed(learned))
        except OSError as error:
            line = f"relevance classifier not kept: {path.parent}: {error.strerror}"
            console.print(line, markup=False, highlight=False, soft_wrap=True)
        return cls(learned, seed=seed)

    @property
    def quality(self) -> Quality:
        """How far the figures can be trusted; ``str`` of it is a line for a report."""
        return self._learned.quality

    @cached_property
    def fingerprint(self) -> str:
        """Of all that was learned, weights included, and of the seed."""
        digest = hashlib.sha256(f"{self._seed}/".encode())
        digest.update(packed(self._learned))
        return digest.hexdigest()[:16]

    def probability(self, contexts: Sequence[Context], replies: Sequence[str]) -> Floats:
        """(B,) that each reply is the response to its context and not a random one.

        An empty reply has 0.
        """
        words = _words(replies)
        evidence = self._learned.matcher.evidence(_posts(contexts), words)
        return np.where(_said(words), self._learned.calibration.probability(evidence), 0.0)

    def rank(self, contexts: Sequence[Context], replies: Sequence[str]) -> Floats:
        """(B,) from 1 to 100: each reply among 99 random held-out training replies.

        The same 99 for the same post; halves where some tie; 100 for an empty reply.
        """
        posts, words = _posts(contexts), _words(replies)
        matcher = self._learned.matcher
        u = matcher.posts(posts)
        own = Evidence(cosines(u, matcher.replies(words)), shares(posts, words))
        count = len(self._others)
        choices = [chosen(" ".join(post), count, self._seed) for post in posts]
        found = ranks(self._learned.calibration, own, u, self._others, choices)
        return np.where(_said(words), found, float(CANDIDATES))

    def judge(
        self, contexts: Sequence[Context], replies: Sequence[Sequence[str]]
    ) -> list[Judgement]:
        """A judgement for each context and its replies, at least one each, in order."""
        counts = [len(pool) for pool in replies]
        probability = self.probability(
            [
                context
                for context, count in zip(contexts, counts, strict=True)
                for _ in range(count)
            ],
            list(chain.from_iterable(replies)),
        )
        rank = self.rank(contexts, [pool[0] for pool in replies])
        return [
            Judgement(
                probabilities=tuple(probability[start:end].tolist()),
                rank=float(place),
            )
            for (start, end), place in zip(
                pairwise(accumulate(counts, initial=0)), rank, strict=True
            )
        ]

    @cached_property
    def _others(self) -> Vectors:
        return self._learned.matcher.replies(_words(self._learned.others))


def _words(texts: Iterable[str]) -> list[list[str]]:
    return [metric_tokens(text) for text in texts]


def _posts(contexts: Sequence[Context]) -> list[list[str]]:
    return _words(context[-1] for context in contexts)


def _said(replies: Sequence[list[str]]) -> list[bool]:
    return [bool(words) for words in replies]
