"""What is asked of a generator and what comes of it. Knows no model."""

import enum
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass

MAX_REPLY_TOKENS = 100  # of a reply, where the model was not trained on longer ones


class FinishReason(enum.StrEnum):
    """Why a reply ended: it said so, it reached the limit of tokens, or a stop came next."""

    END = "end"
    LENGTH = "length"
    STOP = "stop"


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParameters:
    """How tokens and codes are drawn.

    ``temperature`` 0 is greedy given z; ``top_k`` 0 and ``top_p`` 1 leave every word in;
    ``latent_scale`` multiplies the deviation of z. A reply ends before the first of ``stop``.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    max_tokens: int = 40
    latent_scale: float = 1.0
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRequest:
    """One context and how many replies to it; texts in ``excluded`` are not returned.

    ``is_rated``: whether each is to say how well it fits, where the model has a matcher.
    """

    turns: tuple[str, ...]
    reply_count: int
    sampling: SamplingParameters
    seed: int
    excluded: Container[str] = frozenset()
    is_rated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One reply of ``token_count`` tokens, its end not counted.

    ``log_prob_nats`` is the model's own given z, at temperature one, over the words that it may
    say; the end counts where the reply came to one. ``relevance`` is how well it fits the context,
    0 to 1, None where nobody asked or the model does not tell.
    """

    text: str
    log_prob_nats: float
    token_count: int
    finish_reason: FinishReason
    relevance: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationResult:
    """Different replies in the order drawn, perhaps fewer than asked for.

    ``draws`` counts the draws up to the last reply wanted, or all that were made in vain.
    """

    candidates: tuple[Candidate, ...]
    draws: int
    context_truncated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLimits:
    """What the model was built for; longer contexts are cut from the left."""

    max_context_tokens: int
    max_reply_tokens: int
    vocab_size: int
    context_turns: int


def most_draws(reply_count: int) -> int:
    """Draws after which a request makes do with the different replies that it has found."""
    return 3 * reply_count + 16


OnReply = Callable[[int, Candidate], None]
"""Told the place of a reply among those to one request, from 0, and the reply itself."""


class Company:
    """How requests join those that a generator has under way; this is how none do."""

    def joining(self, under_way: int) -> Sequence[GenerationRequest]:
        """Asked before each decode step: the requests to begin with it.

        Args:
            under_way: sequences at the moment, 0 where all is done.
        """
        return ()

    def on_result(self, index: int, result: GenerationResult | None) -> None:
        """Told of each result as soon as it is known, None of an abandoned request.

        Those who joined are numbered on; their results are told here alone.
        """
