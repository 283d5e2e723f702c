"""What a responder works on, a query to one model, and what comes of it, an answer."""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from dialog_service.replies import Candidate, GenerationRequest, OnReply
from dialog_service.serving.batcher import Generated
from dialog_service.serving.blocked_phrases import Blocking
from dialog_service.serving.pools import CacheStatus, PoolKey
from dialog_service.serving.registry import LoadedModel, ServedModel
from dialog_service.serving.validation import SEED_LIMIT, ReplyQuery


@dataclass(frozen=True)
class Ask:
    """One query to one model, and its deadline in the event loop's time.

    ``on_reply``, if anybody listens, is told of candidates as they become known, in the order of
    the answer; of some perhaps twice, of some perhaps not. ``blocking`` is what was blocked when
    the query came.
    """

    model: ServedModel
    query: ReplyQuery
    deadline: float
    blocking: Blocking
    on_reply: OnReply | None = None

    @cached_property
    def pool_key(self) -> PoolKey:
        """The pool that answers it.

        Under another list of blocked phrases it is another one, as it is where candidates say how
        well they fit, which takes time that others need not spend.
        """
        loaded, blocked = self.model.loaded, self.blocking.blocked.digest
        version = f"{loaded.version_name}@{loaded.fingerprint}" + (blocked and f"-{blocked}")
        version += "+rated" if self.is_rated else ""
        return PoolKey.of(version, self.query.turns, self.query.sampling)

    @property
    def is_rated(self) -> bool:
        """Whether how well candidates fit is to be known, and can be."""
        return self.query.selection.takes_relevance and self.model.loaded.generator.has_matcher

    @property
    def has_one_reply(self) -> bool:
        """Whether nothing is drawn: every reply would be the same."""
        sampling = self.query.sampling
        z_is_fixed = self.model.loaded.generator.is_deterministic or sampling.latent_scale == 0
        return sampling.temperature == 0 and z_is_fixed

    def generation(
        self, reply_count: int, *, seed: int, excluded: Iterable[str] = ()
    ) -> GenerationRequest:
        """The work for the model; ``excluded`` are texts not to return, besides blocked ones."""
        return GenerationRequest(
            turns=self.query.turns,
            reply_count=reply_count,
            sampling=self.query.sampling,
            seed=seed,
            excluded=self.blocking.unwanted(excluded),
            is_rated=self.is_rated,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Candidates: first those drawn from a pool, then those generated for the request.

    ``seed`` where it gives exactly these again; ``generated`` None where none was.
    """

    drawn: tuple[Candidate, ...] = ()
    fresh: tuple[Candidate, ...] = ()
    cache: CacheStatus
    pool_size: int = 0
    seed: int | None = None
    generated: Generated | None = None

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """All of them."""
        return self.drawn + self.fresh


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """An answer, the replies selected from it, and the figures that go with them."""

    answer: Answer
    replies: tuple[Candidate, ...]
    model: LoadedModel
    context_truncated: bool
    distinct_1: float
    distinct_2: float


def fresh_seed() -> int:
    """A seed nobody can guess."""
    return secrets.randbelow(SEED_LIMIT)
