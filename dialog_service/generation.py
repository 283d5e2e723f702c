"""N different replies to each of many contexts at once. Knows no asyncio, no grpc and no redis.

A reply is a pure function of (model, context, sampling, seed, draw), as ``decoding`` explains, so
neither batch-mates nor the size of the batch change it. Draws that repeat a text are drawn again,
in order, so that asking for more gives the same ones first.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from dialog_service.checkpoint import Checkpoint, load_checkpoint
from dialog_service.engine import (
    PRECISIONS,
    Decoding,
    Draws,
    Engine,
    resolve_float_precision,
    resolve_precision,
)
from dialog_service.errors import ConfigError
from dialog_service.models.config import ModelConfig
from dialog_service.models.search import TokenRule, normals
from dialog_service.models.seq2seq import ReplyCodes
from dialog_service.rating import Ratings
from dialog_service.replies import (
    MAX_REPLY_TOKENS,
    Candidate,
    Company,
    FinishReason,
    GenerationRequest,
    GenerationResult,
    ModelLimits,
    SamplingParameters,
    most_draws,
)
from dialog_service.session import Plan, Session
from dialog_service.text import detokenise, normalise
from dialog_service.vocabulary import EOS, UNK, Vocabulary

__all__ = [
    "PRECISIONS",
    "Candidate",
    "FinishReason",
    "GenerationRequest",
    "GenerationResult",
    "Generator",
    "ModelLimits",
    "SamplingParameters",
    "context_ids",
    "never",
    "resolve_device",
    "resolve_float_precision",
    "resolve_precision",
    "unheard",
]


_NOBODY = Company()
_WARM_UP_TOKENS = 2  # a first word, and one that follows from it: every step after is the same


def never(_: int) -> bool:
    """Nobody gives up."""
    return False


def unheard(index: int, number: int, candidate: Candidate) -> None:
    """Nobody listens."""


def context_ids(turns: Sequence[Sequence[int]], limits: ModelConfig | ModelLimits) -> list[int]:
    """The ids a model sees of a dialog: its last turns, joined by EOS, cut from the left."""
    joined: list[int] = []
    for ids in turns[-limits.context_turns :]:
        joined += [*([EOS] if joined else []), *ids]
    return joined[-limits.max_context_tokens :] or [UNK]


class Generator:
    """Replies with one loaded checkpoint, on one device; use from one thread at a time."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        device: str = "auto",
        precision: str = "auto",
        max_context_tokens: int | None = None,
    ) -> None:
        """Place the model.

        Args:
            checkpoint: as loaded; its model is moved to the device.
            device: "auto", or what torch.device takes.
            precision: of a decode step's products: "fp32", "bf16", "int8", or "auto", which
                takes the fastest that the hardware has; ``resolve_precision`` says which.
            max_context_tokens: cut contexts to so many, where the model could use more.

        Raises:
            ConfigError: an unknown device or precision.
        """
        self.device = resolve_device(device)
        self.meta = checkpoint.meta
        self._vocabulary: Vocabulary = checkpoint.vocabulary
        model = checkpoint.model.eval().to(self.device)
        with torch.inference_mode():
            self._engine = Engine(model, precision=precision, device=self.device)
        self.precision, self.arithmetic = self._engine.precision, self._engine.arithmetic
        config = model.config
        usable = config.max_context_tokens
        self.limits = ModelLimits(
            max_context_tokens=min(usable, max_context_tokens or usable),
            max_reply_tokens=config.max_response_tokens,
            vocab_size=config.vocab_size,
            context_turns=config.context_turns,
        )
        sampling = checkpoint.sampling
        self.defaults = SamplingParameters(
            temperature=sampling.temperature,
            top_k=sampling.top_k,
            top_p=sampling.top_p,
            max_tokens=config.max_response_tokens,
            latent_scale=sampling.latent_scale,
        )
        self.is_deterministic = model.is_deterministic
        self.has_matcher = self._engine.has_matcher

    @classmethod
    def load(cls, directory: Path, *, device: str = "auto", precision: str = "auto") -> "Generator":
        """A generator for a checkpoint directory; raises CheckpointError or ConfigError."""
        return cls(load_checkpoint(directory), device=device, precision=precision)

    @torch.inference_mode()
    def generate(
        self,
        requests: Sequence[GenerationRequest],
        is_abandoned: Callable[[int], bool] = never,
        on_reply: Callable[[int, int, Candidate], None] = unheard,
        company: Company = _NOBODY,
    ) -> list[GenerationResult | None]:
        """Reply to each request, and to those that join on the way.

        Args:
            requests: any number, of any mix of parameters.
            is_abandoned: asked with a request's index before each decode step; the rows of an
                abandoned request leave the batch.
            on_reply: told a request's index, the place of a reply in its result, and the reply, as
                soon as it and the draws before it are finished; places come in order. How well it
                fits is in the result alone.
            company: says who joins, and is told each result as soon as it is known.

        Returns:
            One result per request, in order; None for an abandoned one. Those of who joined went
            to ``company``: while there is always somebody under way, they would never be let go.
        """
        longest = max(MAX_REPLY_TOKENS, self.limits.max_reply_tokens)
        session = Session(self._engine, longest, self._said, on_reply)
        ratings = Ratings(self._engine, self._reply_ids)
        self._begin(requests, session, ratings)
        results: dict[int, GenerationResult | None] = {}
        while not session.is_idle:
            self._begin(company.joining(session.live_rows), session, ratings)
            done = ratings.told(session.step(is_abandoned))
            for index, result in done.items():
                company.on_result(index, result)
            results.update((n, result) for n, result in done.items() if n < len(requests))
        return [results[index] for index in range(len(requests))]

    def warm_up(self, reply_count: int) -> None:
        """Do on this thread what only the first of many requests has to wait for."""
        brief = replace(self.defaults, max_tokens=_WARM_UP_TOKENS)
        self.generate(
            [
                GenerationRequest(
                    turns=("hello",),
                    reply_count=reply_count,
                    sampling=brief,
                    seed=0,
                    is_rated=True,
                )
            ]
        )

    @torch.inference_mode()
    def code_draws(self, turns: Sequence[str], seeds: Sequence[int]) -> Tensor:
        """One z for each seed, as the first draw of a request to ``turns`` would have it.

        Drawn at the checkpoint's own ``latent_scale``.

        Returns:
            (K, Z) float32 on the CPU.
        """
        codes = self._codes(turns)
        seed = torch.tensor(seeds, device=self.device)
        noise = normals(seed, torch.zeros_like(seed), codes.loc.shape[1])
        return (codes.loc + self.defaults.latent_scale * codes.scale * noise).cpu()

    @torch.inference_mode()
    def replies_at(self, turns: Sequence[str], z: Tensor) -> list[str]:
        """Greedy replies to ``turns`` from given codes (K, Z), in their order."""
        share = self._codes(turns).share
        count = len(z)
        places = torch.arange(count, device=self.device)
        zeros = torch.zeros_like(places)
        decoding = Decoding(self._engine, self.limits.max_reply_tokens)
        draws = Draws(
            request=zeros,
            number=places,
            seed=zeros,
            limit=zeros + self.limits.max_reply_tokens,
            rule=TokenRule(
                temperature=zeros.float(), top_k=zeros, top_p=torch.ones_like(zeros).double()
            ),
            signal=self._engine.signals(z.to(self.device), share.expand(count, -1)),
        )
        decoding.join(draws)
        said: dict[int, str] = {}
        while decoding.live_rows:
            said.update((ended.number, self._said(ended.ids)) for ended in decoding.step())
        return [said[place] for place in range(count)]

    def truncates(self, turns: Sequence[str]) -> bool:
        """Whether turns, a separator between two, hold more than the model can use."""
        return self._exceed(self._encoded(turns))

    def _encoded(self, turns: Sequence[str]) -> list[list[int]]:
        return [self._vocabulary.encode(normalise(turn)) for turn in turns]

    def _exceed(self, turns: Sequence[Sequence[int]]) -> bool:
        tokens = sum(map(len, turns)) + len(turns) - 1
        return len(turns) > self.limits.context_turns or tokens > self.limits.max_context_tokens

    def _codes(self, turns: Sequence[str]) -> ReplyCodes:
        return self._engine.codes([context_ids(self._encoded(turns), self.limits)])

    def _begin(
        self, requests: Sequence[GenerationRequest], session: Session, ratings: Ratings
    ) -> None:
        """Read the contexts of some requests together, and begin them."""
        if not requests:
            return
        turns = [self._encoded(request.turns) for request in requests]
        contexts = [context_ids(each, self.limits) for each in turns]
        states = self._engine.states(contexts)
        codes = self._engine.codes_of(states)
        ratings.begin(session.begun, requests, contexts, states)
        session.add(
            [
                Plan(
                    request=request,
                    codes=ReplyCodes(*(part[place : place + 1] for part in codes)),
                    draw_limit=self._draw_limit(request),
                    context_truncated=self._exceed(turns[place]),
                )
                for place, request in enumerate(requests)
            ]
        )

    def _reply_ids(self, text: str) -> list[int]:
        """As the encoder reads it, at least one: a reply's own tokens may be another spelling."""
        return self._vocabulary.encode(normalise(text)) or [UNK]

    def _draw_limit(self, request: GenerationRequest) -> int:
        """Draws after which a request makes do with what it has; one where all are the same."""
        sampling = request.sampling
        z_varies = not self.is_deterministic and sampling.latent_scale > 0
        words_vary = sampling.temperature > 0 and sampling.top_k != 1
        return most_draws(request.reply_count) if z_varies or words_vary else 1

    def _said(self, ids: Sequence[int]) -> str:
        return detokenise(self._vocabulary.decode(ids))


def resolve_device(name: str) -> torch.device:
    """The device of a name; "auto" is CUDA where there is one.

    Raises:
        ConfigError: no such device here, or a kind that this project does not know.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.partition(":")[0] not in ("cpu", "cuda"):
        raise ConfigError(f"device {name!r}: allowed are auto, cpu, cuda, cuda:N")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"device {name!r} cannot be used here: {reason}") from error
    return device
