"""A checkpoint as rows of the table: one for each way of decoding worth comparing."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count

from pydantic import ValidationError

from dialog_service.checkpoint import SamplingDefaults
from dialog_service.errors import ConfigError
from dialog_service.generation import GenerationRequest, Generator, SamplingParameters
from train.evaluate.options import Override
from train.metrics.null_rows import Role
from train.metrics.scoring import Case


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """How one row's replies are drawn.

    ``count`` per context, different from each other as the service gives them, or, where
    ``are_raw``, as they fall: each from a seed of its own, repeats left in.
    """

    name: str
    sampling: SamplingParameters
    count: int
    are_raw: bool = False

    def __str__(self) -> str:
        """For the signature."""
        sampling = self.sampling
        drawn = "raw draws" if self.are_raw else "different replies"
        return (
            f"T={sampling.temperature:g},top_k={sampling.top_k},top_p={sampling.top_p:g},"
            f"latent_scale={sampling.latent_scale:g},max_tokens={sampling.max_tokens},"
            f"{drawn if self.count > 1 else 'one draw'}"
        )


class GeneratedReplies:
    """One decoding of one model; remembers how many cases it has answered, to seed the next."""

    role = Role.SYSTEM

    def __init__(self, generator: Generator, decoding: Decoding, *, seed: int) -> None:
        """A row; every context has randomness of its own, fixed by ``seed`` and its place."""
        self.name = decoding.name
        self.decoding = str(decoding)
        self.count = decoding.count
        self._generator = generator
        self._decoding = decoding
        self._seed = seed
        self._places = count()

    def answer(self, cases: Sequence[Case]) -> list[tuple[str, ...]]:
        """Replies to each case; an empty text where the model found none."""
        requests = [request for case in cases for request in self._requests(case)]
        results = self._generator.generate(requests)
        texts = [tuple(c.text for c in result.candidates) if result else () for result in results]
        share = len(requests) // len(cases)
        grouped = (texts[start : start + share] for start in range(0, len(texts), share))
        return [tuple(text for each in group for text in each or ("",)) for group in grouped]

    def _requests(self, case: Case) -> list[GenerationRequest]:
        place, decoding = next(self._places), self._decoding
        return [
            GenerationRequest(
                turns=case.context,
                reply_count=1 if decoding.are_raw else decoding.count,
                sampling=decoding.sampling,
                seed=_seed_of(self._seed, place, draw),
            )
            for draw in range(decoding.count if decoding.are_raw else 1)
        ]


def decodings(generator: Generator, override: Override, reply_count: int) -> list[Decoding]:
    """The model as it replies, then with greedy tokens: z drawn, and z at its mean.

    Raises:
        ConfigError: a sampling value out of its range.
    """
    variant = generator.meta.variant
    sampling = overridden(generator.defaults, override)
    asked = Decoding(name=variant, sampling=sampling, count=reply_count)
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
            ),
            Decoding(name=f"{variant}, z = mean, greedy tokens", sampling=at_mean, count=1),
        ]
    return [asked, *(other for other in others if other.sampling != sampling)]


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


def _seed_of(seed: int, place: int, draw: int) -> int:
    """A seed in [0, 2**63) for each draw of each context."""
    digest = hashlib.blake2b(f"{seed}/{place}/{draw}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 1
