"""What a load consists of: kinds of calls in given shares, about new and repeated utterances."""

import enum
import random
import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dialog_service.errors import ConfigError
from dialog_service.v1 import dialog_pb2 as pb

_BATCH_REQUESTS = 8  # of one call
_NEW_WORD_LETTERS = 8
_OPENINGS = (
    *("How was", "Tell me about", "What do you think of", "I am worried about"),
    *("Guess what:", "Do you remember", "I cannot wait for", "Who told you about"),
)
_TOPICS = (
    *("your weekend", "the new teacher", "dinner tonight", "my job interview"),
    *("the weather", "our holiday", "that film", "your sister's wedding"),
)
UTTERANCES = tuple(f"{opening} {topic}?" for opening in _OPENINGS for topic in _TOPICS)


class Kind(enum.StrEnum):
    """Of a call, by the names that people type."""

    UNARY = "unary"
    STREAM = "stream"
    BATCH = "batch"
    SEEDED = "seeded"
    MMR = "mmr"


@dataclass(frozen=True, slots=True)
class Shot:
    """One call to make: one request, or several where it is a batch."""

    kind: Kind
    requests: tuple[pb.GenerateRepliesRequest, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Everything that decides what is sent, save the seed."""

    mix: Mapping[Kind, float]  # shares of calls, in any unit
    utterances: tuple[str, ...] = UTTERANCES
    repeated_share: float = 0.5  # of utterances sent as they are; a new word makes the others new
    reply_count: int = 5
    cache_mode: pb.CacheMode = pb.CACHE_MODE_DEFAULT
    model: str = ""

    def shots(self, seed: int) -> Iterator[Shot]:
        """An endless stream of calls, the same for the same seed."""
        chance = random.Random(seed)
        kinds, weights = list(self.mix), list(self.mix.values())
        while True:
            [kind] = chance.choices(kinds, weights)
            count = _BATCH_REQUESTS if kind is Kind.BATCH else 1
            yield Shot(kind, tuple(self._request(kind, chance) for _ in range(count)))

    def _request(self, kind: Kind, chance: random.Random) -> pb.GenerateRepliesRequest:
        request = pb.GenerateRepliesRequest(
            model=self.model,
            turns=[pb.Turn(text=self._utterance(chance))],
            reply_count=self.reply_count,
            cache_mode=self.cache_mode,
        )
        if kind is Kind.SEEDED:
            request.sampling.seed = chance.getrandbits(62)
        if kind is Kind.MMR:
            request.selection.strategy = pb.SELECTION_STRATEGY_MMR
        return request

    def _utterance(self, chance: random.Random) -> str:
        text = chance.choice(self.utterances)
        if chance.random() < self.repeated_share:
            return text
        return f"{text} {''.join(chance.choices(string.ascii_lowercase, k=_NEW_WORD_LETTERS))}"


def parse_mix(text: str) -> dict[Kind, float]:
    """Shares from "unary=8,stream=1,batch=1".

    Raises:
        ConfigError: a name that is none, a share that is none, or nothing at all.
    """
    shares: dict[Kind, float] = {}
    for part in text.split(","):
        name, _, share = part.strip().partition("=")
        try:
            shares[Kind(name)] = float(share)
        except ValueError as error:
            known = ", ".join(Kind)
            raise ConfigError(
                f"--mix: {part.strip()!r} is no NAME=SHARE; names: {known}; "
                'for example "unary=8,stream=1,batch=1"'
            ) from error
    if not all(0 <= share < float("inf") for share in shares.values()) or not any(shares.values()):
        raise ConfigError(f"--mix: shares must be 0 or more, and one of them above 0: {text!r}")
    return shares
