"""A checkpoint as rows of the table: one for each way of decoding worth comparing."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import count, islice
from typing import Protocol

from pydantic import ValidationError

from dialog_service.checkpoint import SamplingDefaults
from dialog_service.errors import ConfigError
from dialog_service.generation import (
    GenerationRequest,
    GenerationResult,
    Generator,
    SamplingParameters,
)
from dialog_service.selection import (
    DEFAULT_CANDIDATES,
    DEFAULT_RELEVANCE_WEIGHT,
    MmrSelection,
    NoSelection,
    Selection,
    select,
)
from train.evaluate.options import AskedSelection, Override
from train.metrics.counting import DRAWS
from train.metrics.null_rows import Role
from train.metrics.scoring import Case

_AS_SERVED = AskedSelection()
UNIQUE_CONTEXTS = 200  # enough for a mean to within .3, and a small part of the whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """How one row's replies are drawn, and selected from what is drawn.

    ``count`` per context, different from each other as the service gives them, or, where
    ``are_raw``, as they fall: each from a seed of its own, repeats left in, nothing to select from.
    Every so many contexts (``ten_every``; 0 for none) ten are drawn, if more than ``count``, for
    "unique of 10" alone. ``candidate_count`` None is no more than ``count``. ``has_matcher`` says
    what relevance is in a selection: the model's matcher's, or likelihood.
    """

    name: str
    sampling: SamplingParameters
    count: int
    are_raw: bool = False
    ten_every: int = 0
    selection: Selection = field(default_factory=NoSelection)
    candidate_count: int | None = None
    has_matcher: bool = False

    def __str__(self) -> str:
        """For the signature."""
        sampling = self.sampling
        drawn = "raw draws" if self.are_raw else "different replies"
        ten = f",ten on 1 context of {self.ten_every}" if self.ten_every else ""
        return (
            f"T={sampling.temperature:g},top_k={sampling.top_k},top_p={sampling.top_p:g},"
            f"latent_scale={sampling.latent_scale:g},max_tokens={sampling.max_tokens},"
            f"{drawn if self.candidates > 1 else 'one draw'}{ten}{self._choice}"
        )

    @property
    def candidates(self) -> int:
        """Replies that a context's are selected from."""
        return self.candidate_count or self.count

    def selected(self, *, candidates: int, relevance_weight: float) -> "Decoding":
        """The same but for selection, from no fewer candidates than there are to be replies."""
        return replace(
            self,
            selection=MmrSelection(relevance_weight=relevance_weight),
            candidate_count=max(candidates, self.count),
        )

    def draws(self, place: int) -> int:
        """Replies drawn apart for the context at this place."""
        if not self.are_raw:
            return 1
        is_ten = self.ten_every > 0 and place % self.ten_every == 0
        return max(self.count, DRAWS) if is_ten else self.count

    @property
    def _choice(self) -> str:
        """The end of the signature."""
        match self.selection:
            case NoSelection():
                return ""
            case MmrSelection(relevance_weight=weight):
                measure = "matcher" if self.has_matcher else "likelihood"
                return f",mmr {weight:g} of {self.candidates} by {measure}"


class Generates(Protocol):
    """What replies are drawn from."""

    def generate(
        self, requests: tuple[GenerationRequest, ...], /
    ) -> Sequence[GenerationResult | None]:
        """Reply to each request; None where there is no reply."""


class GeneratedReplies:
    """One decoding of one model; remembers how many cases it has answered, to seed the next."""

    role = Role.SYSTEM

    def __init__(self, generator: Generates, decoding: Decoding, *, seed: int) -> None:
        """A row; every context has randomness of its own, fixed by ``seed`` and its place."""
        self.name = decoding.name
        self.decoding = str(decoding)
        self.count = decoding.count
        self._generator = generator
        self._decoding = decoding
        self._seed = seed
        self._places = count()

    def skip(self, cases: int) -> None:
        """Leave the next cases to those who know the answers; what follows is as it would be."""
        self._places = count(next(self._places) + cases)

    def answer(self, cases: Sequence[Case]) -> list[tuple[str, ...]]:
        """Replies to each case; an empty text where the model found none."""
        asked = [self._requests(case) for case in cases]
        requests = tuple(request for each in asked for request in each)
        results = iter(self._generator.generate(requests))
        return [
            tuple(text for result in islice(results, len(each)) for text in self._texts(result))
            for each in asked
        ]

    def _requests(self, case: Case) -> list[GenerationRequest]:
        place, decoding = next(self._places), self._decoding
        return [
            GenerationRequest(
                turns=case.context,
                reply_count=1 if decoding.are_raw else decoding.candidates,
                sampling=decoding.sampling,
                seed=_seed_of(self._seed, place, draw),
                is_rated=decoding.selection.takes_relevance,
            )
            for draw in range(decoding.draws(place))
        ]

    def _texts(self, result: GenerationResult | None) -> tuple[str, ...]:
        decoding = self._decoding
        candidates = result.candidates if result else ()
        chosen = select(candidates, decoding.count, decoding.selection)
        return tuple(candidate.text for candidate in chosen) or ("",)


def decodings(
    generator: Generator,
    override: Override,
    *,
    reply_count: int,
    contexts: int,
    selection: AskedSelection = _AS_SERVED,
) -> list[Decoding]:
    """The model as it replies, as the service selects, and greedy: z drawn, and z at its mean.

    Args:
        generator: the model; one without a matcher selects only where that is asked for.
        override: sampling other than its own.
        reply_count: replies per context.
        contexts: how many there are, of which some are spread over for "unique of 10".
        selection: other than the service's.

    Raises:
        ConfigError: a sampling value out of its range.
    """
    variant = generator.meta.variant
    sampling = overridden(generator.defaults, override)
    asked = Decoding(
        name=variant, sampling=sampling, count=reply_count, has_matcher=generator.has_matcher
    )
    greedy = replace(sampling, temperature=0.0, top_k=0, top_p=1.0)
    if generator.is_deterministic:
        others = [Decoding(name=f"{variant}, greedy", sampling=greedy, count=1)]
    else:
        drawn = replace(greedy, latent_scale=sampling.latent_scale or 1.0)
        at_mean = replace(greedy, latent_scale=0.0)
        others = [
            Decoding(
                name=f"{variant}, z drawn, greedy tokens",
                sampling=drawn,
                count=reply_count,
                are_raw=True,
                ten_every=max(1, contexts // UNIQUE_CONTEXTS) if reply_count < DRAWS else 0,
            ),
            Decoding(name=f"{variant}, z = mean, greedy tokens", sampling=at_mean, count=1),
        ]
    selects = generator.has_matcher or selection != _AS_SERVED
    return [
        asked,
        *([_selecting(asked, selection)] if selects else []),
        *(other for other in others if other.sampling != sampling),
    ]


def overridden(defaults: SamplingParameters, override: Override) -> SamplingParameters:
    """The checkpoint's sampling with what the command line says instead.

    Raises:
        ConfigError: a value out of its range.
    """
    given = {
        name: value
        for name in SamplingDefaults.model_fields
        if (value := getattr(override, name)) is not None
    }
    try:
        checked = SamplingDefaults.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        flag = str(first["loc"][0]).replace("_", "-")
        raise ConfigError(f"--{flag} {first['input']}: {first['msg']}") from error
    return replace(defaults, **checked.model_dump(include=set(given)))


def _selecting(own: Decoding, asked: AskedSelection) -> Decoding:
    """A row of its own of the same replies and more to select from."""
    count, weight = asked.candidate_count, asked.relevance_weight
    return replace(own, name=f"{own.name}, selected").selected(
        candidates=DEFAULT_CANDIDATES if count is None else count,
        relevance_weight=DEFAULT_RELEVANCE_WEIGHT if weight is None else weight,
    )


def _seed_of(seed: int, place: int, draw: int) -> int:
    """A seed in [0, 2**63) for each draw of each context."""
    digest = hashlib.blake2b(f"{seed}/{place}/{draw}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 1
