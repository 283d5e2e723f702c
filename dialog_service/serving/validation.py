"""What may be asked, and what is made of it. Every violated field is found, not only the first.

Knows the API's rules and no protobuf: ``None`` stands for what a caller left out.
"""

import enum
import re
import unicodedata
from dataclasses import dataclass, field, replace
from typing import TypeVar

from dialog_service.errors import FieldViolation, InvalidRequest
from dialog_service.generation import SamplingParameters
from dialog_service.replies import MAX_REPLY_TOKENS
from dialog_service.selection import (
    DEFAULT_CANDIDATES,
    DEFAULT_RELEVANCE_WEIGHT,
    MmrSelection,
    NoSelection,
    Selection,
)
from dialog_service.text import normalise

T = TypeVar("T")

DEFAULT_REPLIES = 5
MAX_TURNS = 1000
MAX_TEXT_CHARACTERS = 4096
MAX_SPEAKER_CHARACTERS = 128
MAX_STOPS = 4
MAX_STOP_CHARACTERS = 64
SEED_LIMIT = 2**63
# Tabs and line breaks separate words; other control characters and lone surrogates have no place
# in an utterance, and dropping them would answer something else than was sent.
_NOT_KEPT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff]")


class CacheMode(enum.Enum):
    """What the cache may do for a request."""

    DEFAULT = enum.auto()
    BYPASS = enum.auto()
    REFRESH = enum.auto()


class Strategy(enum.Enum):
    """How replies are chosen from candidates; DEFAULT is the server's way."""

    DEFAULT = enum.auto()
    NONE = enum.auto()
    MMR = enum.auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One utterance as it was sent."""

    text: str
    speaker: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedSampling:
    """Sampling as it was asked for."""

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    latent_scale: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedSelection:
    """Selection as it was asked for; ``strategy`` None is one that this server does not know."""

    strategy: Strategy | None = Strategy.DEFAULT
    candidate_count: int | None = None
    relevance_weight: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyRequest:
    """A request as it was sent; ``cache_mode`` None is one that this server does not know."""

    turns: tuple[Turn, ...]
    model: str = ""
    reply_count: int | None = None
    sampling: AskedSampling = AskedSampling()
    selection: AskedSelection = AskedSelection()
    cache_mode: CacheMode | None = CacheMode.DEFAULT


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLimits:
    """The largest ``reply_count`` and ``candidate_count``; the second is no smaller.

    ``strategy`` is how replies are chosen where a request does not say; not DEFAULT.
    """

    max_replies: int
    max_candidates: int
    strategy: Strategy = Strategy.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestLimits:
    """What depends on the server and the model."""

    server: ServerLimits
    vocab_size: int
    context_turns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyQuery:
    """A valid request with every default filled in."""

    turns: tuple[str, ...]  # those the model uses, oldest first
    turns_cut: bool  # there were more
    reply_count: int
    candidate_count: int  # what the replies are selected from
    sampling: SamplingParameters
    selection: Selection
    seed: int | None
    cache_mode: CacheMode


def validated(
    request: ReplyRequest, limits: RequestLimits, defaults: SamplingParameters
) -> ReplyQuery:
    """The query a request stands for.

    Raises:
        InvalidRequest: with every violated field.
    """
    asked = _with_strategy(request.selection, limits.server.strategy)
    checks = _Checks()
    checks.turns(request.turns, limits.context_turns)
    replies = _either(request.reply_count, min(DEFAULT_REPLIES, limits.server.max_replies))
    checks.within("reply_count", replies, 1, limits.server.max_replies)
    checks.sampling(request.sampling, limits.vocab_size)
    checks.selection(asked, replies, limits.server)
    checks.require(request.cache_mode is not None, "cache_mode", "is not a known mode")
    if checks.violations or request.cache_mode is None:
        raise InvalidRequest(checks.violations)
    kept = request.turns[-limits.context_turns :]
    return ReplyQuery(
        turns=tuple(turn.text for turn in kept),
        turns_cut=len(kept) < len(request.turns),
        reply_count=replies,
        candidate_count=_candidate_count(asked, replies, limits.server),
        sampling=_completed(request.sampling, defaults),
        selection=_selection(asked),
        seed=request.sampling.seed,
        cache_mode=request.cache_mode,
    )


@dataclass(slots=True)
class _Checks:
    """Collects violations."""

    violations: list[FieldViolation] = field(default_factory=list)

    def require(self, holds: bool, name: str, description: str) -> None:
        if not holds:
            self.violations.append(FieldViolation(name, description))

    def within(self, name: str, value: float | None, low: float, high: float) -> None:
        """Absent, or low <= value <= high; not-a-number is not."""
        holds = value is None or low <= value <= high
        self.require(holds, name, f"must be {low} to {high}, not {value}")

    def turns(self, turns: tuple[Turn, ...], used: int) -> None:
        self.require(bool(turns), "turns", "must hold the utterance to answer")
        self.require(len(turns) <= MAX_TURNS, "turns", f"must be no more than {MAX_TURNS}")
        for index, turn in enumerate(turns):
            name = f"turns[{index}]"
            self.characters(f"{name}.speaker", turn.speaker, MAX_SPEAKER_CHARACTERS)
            is_fit = self.characters(f"{name}.text", turn.text, MAX_TEXT_CHARACTERS)
            # Only what the model reads is worth the cost of normalising.
            says = normalise(turn.text) if is_fit and index >= len(turns) - used else turn.text
            self.require(bool(says.strip()), f"{name}.text", "must say something")

    def characters(self, name: str, text: str, limit: int) -> bool:
        """Whether a text is short enough and free of what cannot be kept."""
        # A ligature may stand for eighteen characters, each of which the model's text holds.
        written_out = unicodedata.normalize("NFKC", text[: limit + 1])
        length = max(len(text), len(written_out))
        is_short = length <= limit
        self.require(is_short, name, f"has {length} characters, more than {limit}")
        bad = _NOT_KEPT.search(text)
        at = f"{ord(bad[0]):04X} at {bad.start()}" if bad else ""
        self.require(not bad, name, f"has a character that cannot be kept: U+{at}")
        return is_short and not bad

    def sampling(self, asked: AskedSampling, vocab_size: int) -> None:
        self.within("sampling.temperature", asked.temperature, 0, 5)
        self.within("sampling.top_k", asked.top_k, 0, vocab_size)
        is_share = asked.top_p is None or 0 < asked.top_p <= 1
        self.require(is_share, "sampling.top_p", f"must be above 0 and up to 1, not {asked.top_p}")
        self.within("sampling.max_tokens", asked.max_tokens, 1, MAX_REPLY_TOKENS)
        self.within("sampling.latent_scale", asked.latent_scale, 0, 4)
        self.within("sampling.seed", asked.seed, 0, SEED_LIMIT - 1)
        self.stop(asked.stop)

    def stop(self, texts: tuple[str, ...]) -> None:
        is_short = len(texts) <= MAX_STOPS
        self.require(is_short, "sampling.stop", f"has {len(texts)} texts, more than {MAX_STOPS}")
        for index, text in enumerate(texts[:MAX_STOPS]):
            name = f"sampling.stop[{index}]"
            self.require(bool(text), name, "must have at least one character")
            self.characters(name, text, MAX_STOP_CHARACTERS)

    def selection(self, asked: AskedSelection, replies: int, limits: ServerLimits) -> None:
        self.require(asked.strategy is not None, "selection.strategy", "is not a known strategy")
        if asked.strategy is not Strategy.NONE:
            least = min(max(1, replies), limits.max_replies)  # though reply_count may be wrong
            self.within(
                "selection.candidate_count", asked.candidate_count, least, limits.max_candidates
            )
        self.within("selection.relevance_weight", asked.relevance_weight, 0, 1)
        if asked.strategy is Strategy.NONE:
            for name in ("candidate_count", "relevance_weight"):
                is_absent = getattr(asked, name) is None
                self.require(is_absent, f"selection.{name}", "needs a strategy that chooses")


def _with_strategy(asked: AskedSelection, default: Strategy) -> AskedSelection:
    return replace(asked, strategy=default) if asked.strategy is Strategy.DEFAULT else asked


def _selection(asked: AskedSelection) -> Selection:
    if asked.strategy is Strategy.MMR:
        weight = _either(asked.relevance_weight, DEFAULT_RELEVANCE_WEIGHT)
        return MmrSelection(relevance_weight=weight)
    return NoSelection()


def _candidate_count(asked: AskedSelection, replies: int, limits: ServerLimits) -> int:
    """As many as there are replies, but for a strategy that chooses."""
    if asked.strategy is Strategy.NONE:
        return replies
    return _either(asked.candidate_count, min(DEFAULT_CANDIDATES, limits.max_candidates))


def _completed(asked: AskedSampling, defaults: SamplingParameters) -> SamplingParameters:
    return SamplingParameters(
        temperature=_either(asked.temperature, defaults.temperature),
        top_k=_either(asked.top_k, defaults.top_k),
        top_p=_either(asked.top_p, defaults.top_p),
        max_tokens=_either(asked.max_tokens, defaults.max_tokens),
        latent_scale=_either(asked.latent_scale, defaults.latent_scale),
        stop=asked.stop,
    )


def _either(value: T | None, default: T) -> T:
    return default if value is None else value
