"""N different replies to each of many contexts at once. Knows no asyncio, no grpc and no redis.

A reply is a pure function of (model, context, sampling, seed, draw), as ``decoding`` explains, so
neither batch-mates nor the size of the batch change it. Draws that repeat a text are drawn again,
in order, so that the first five of ten replies are the five.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import pad

from dialog_service.checkpoint import Checkpoint, load_checkpoint
from dialog_service.decoding import Decoded, Decoding, Draws, chunk_rows
from dialog_service.errors import ConfigError
from dialog_service.models.config import ModelConfig
from dialog_service.models.recurrence import Recurrence
from dialog_service.models.search import TokenRule, normals
from dialog_service.models.seq2seq import ReplyCodes
from dialog_service.replies import (
    Candidate,
    FinishReason,
    GenerationRequest,
    GenerationResult,
    ModelLimits,
    OnReply,
    SamplingParameters,
)
from dialog_service.stops import before_first
from dialog_service.text import detokenise, normalise
from dialog_service.vocabulary import EOS, PAD, UNK, Vocabulary

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
    "resolve_precision",
    "unheard",
]

PRECISIONS = ("auto", "fp32", "bf16")


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


@dataclass(slots=True)
class _Plan:
    """One request under way: what it has, and how far its draws have come."""

    request: GenerationRequest
    draw_limit: int
    context_truncated: bool
    taken: int = 0
    draws: int = 0
    is_abandoned: bool = False
    found: dict[str, Candidate] = field(default_factory=dict)
    ahead: dict[int, Decoded] = field(default_factory=dict)  # finished before earlier draws

    @property
    def missing(self) -> int:
        """Replies still to be found."""
        return self.request.reply_count - len(self.found)

    def take_draws(self) -> range:
        """The next draws to make, within the limit; none where nothing is missing.

        As many as replies are wanted at first; then twice as many as should yield the missing
        ones, so that a model that repeats itself is not asked over and over for the last few.
        """
        needed = self.missing
        if self.is_abandoned or not needed:
            return range(0)
        if self.draws:
            needed = -(-2 * needed * self.draws // max(1, len(self.found)))
        first = self.taken
        self.taken = min(first + needed, self.draw_limit)
        return range(first, self.taken)

    def accept(self, candidate: Candidate, on_reply: OnReply) -> None:
        """Keep the next draw, and tell of it, unless it is empty, known or not wanted."""
        self.draws += 1
        text = candidate.text
        if text and text not in self.request.excluded and text not in self.found:
            self.found[text] = candidate
            on_reply(len(self.found) - 1, candidate)

    def result(self) -> GenerationResult | None:
        """What was asked for, or None where the caller has gone."""
        if self.is_abandoned:
            return None
        return GenerationResult(
            candidates=tuple(self.found.values()),
            draws=self.draws,
            context_truncated=self.context_truncated,
        )


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
            checkpoint: as loaded; its model is changed in place.
            device: "auto", or what torch.device takes.
            precision: "fp32"; "bf16" runs the recurrent products in bfloat16; "auto" takes bf16
                where the hardware multiplies it natively.
            max_context_tokens: cut contexts to so many, where the model could use more.

        Raises:
            ConfigError: an unknown device or precision.
        """
        self.device = resolve_device(device)
        self.meta = checkpoint.meta
        self._model = checkpoint.model.eval().to(self.device)
        self._vocabulary: Vocabulary = checkpoint.vocabulary
        if resolve_precision(precision, self.device) == "bf16":
            for recurrence in (m for m in self._model.modules() if isinstance(m, Recurrence)):
                recurrence.to(torch.bfloat16)
        config = self._model.config
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
        self.is_deterministic = self._model.is_deterministic

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
    ) -> list[GenerationResult | None]:
        """Reply to each request.

        Args:
            requests: any number, of any mix of parameters.
            is_abandoned: asked with a request's index before each decode step; the rows of an
                abandoned request leave the batch.
            on_reply: told a request's index, the place of a reply in its result, and the reply, as
                soon as it and the draws before it are finished; places come in order.

        Returns:
            One result per request, in order; None for an abandoned one.
        """
        if not requests:
            return []
        plans, contexts = self._plans(requests)
        codes = self._codes(contexts)

        def has_gone(index: int) -> bool:
            plans[index].is_abandoned = plans[index].is_abandoned or is_abandoned(index)
            return plans[index].is_abandoned

        while todo := [(i, draw) for i, plan in enumerate(plans) for draw in plan.take_draws()]:
            decoding = Decoding(self._model.decoder, self._draws(requests, todo, codes))
            for place, sequence in decoding.run(has_gone):
                index, draw = todo[place]
                plans[index].ahead[draw] = sequence
                self._accept_in_order(plans[index], partial(on_reply, index))
        return [plan.result() for plan in plans]

    @torch.inference_mode()
    def code_draws(self, turns: Sequence[str], seeds: Sequence[int]) -> Tensor:
        """One z for each seed, as the first draw of a request to ``turns`` would have it.

        Drawn at the checkpoint's own ``latent_scale``.

        Returns:
            (K, Z) float32 on the CPU.
        """
        codes = self._codes([self._ids(turns)])
        seed = torch.tensor(seeds, device=self.device)
        noise = normals(seed, torch.zeros_like(seed), codes.loc.shape[1])
        return (codes.loc + self.defaults.latent_scale * codes.scale * noise).cpu()

    @torch.inference_mode()
    def replies_at(self, turns: Sequence[str], z: Tensor) -> list[str]:
        """Greedy replies to ``turns`` from given codes (K, Z), in their order."""
        share = self._codes([self._ids(turns)]).share
        count = len(z)
        zeros = torch.zeros(count, dtype=torch.int64, device=self.device)
        draws = Draws(
            request=zeros,
            number=zeros,
            seed=zeros,
            limit=zeros + self.limits.max_reply_tokens,
            rule=TokenRule(
                temperature=zeros.float(), top_k=zeros, top_p=torch.ones_like(zeros).double()
            ),
            signal=self._signals(z.to(self.device), share.expand(count, -1)),
        )
        decoded = dict(Decoding(self._model.decoder, draws).run(never))
        return [self._candidate(decoded[place]).text for place in range(count)]

    def truncates(self, turns: Sequence[str]) -> bool:
        """Whether turns, a separator between two, hold more than the model can use."""
        return self._exceed(self._encoded(turns))

    def _encoded(self, turns: Sequence[str]) -> list[list[int]]:
        return [self._vocabulary.encode(normalise(turn)) for turn in turns]

    def _exceed(self, turns: Sequence[Sequence[int]]) -> bool:
        tokens = sum(map(len, turns)) + len(turns) - 1
        return len(turns) > self.limits.context_turns or tokens > self.limits.max_context_tokens

    def _ids(self, turns: Sequence[str]) -> list[int]:
        return context_ids(self._encoded(turns), self.limits)

    def _plans(self, requests: Sequence[GenerationRequest]) -> tuple[list[_Plan], list[list[int]]]:
        """A plan and the context's ids for each request."""
        plans, contexts = [], []
        for request in requests:
            turns = self._encoded(request.turns)
            contexts.append(context_ids(turns, self.limits))
            plans.append(_Plan(request, self._draw_limit(request), self._exceed(turns)))
        return plans, contexts

    def _draw_limit(self, request: GenerationRequest) -> int:
        """Draws after which a request makes do with what it has; one where all are the same."""
        sampling = request.sampling
        z_varies = not self.is_deterministic and sampling.latent_scale > 0
        words_vary = sampling.temperature > 0 and sampling.top_k != 1
        return 3 * request.reply_count + 16 if z_varies or words_vary else 1

    def _codes(self, contexts: Sequence[list[int]]) -> ReplyCodes:
        """What each context says of z and of the signal, encoded in chunks of fixed rows."""
        rows = chunk_rows(self.device)
        idle = [[UNK]] * (-len(contexts) % rows)
        lengths = torch.tensor([len(ids) for ids in (*contexts, *idle)])
        ids = torch.full((len(lengths), int(lengths.max())), PAD)
        for row, context in zip(ids, (*contexts, *idle), strict=True):
            row[: len(context)] = torch.tensor(context)
        chunks = zip(
            ids.to(self.device).split(rows), lengths.to(self.device).split(rows), strict=True
        )
        codes = [self._model.infer_stepwise(*chunk) for chunk in chunks]
        return ReplyCodes(*(torch.cat(part)[: len(contexts)] for part in zip(*codes, strict=True)))

    def _signals(self, z: Tensor, share: Tensor) -> Tensor:
        """(N, Z) codes and (N, G') shares -> (N, G) signals, in chunks of fixed rows."""
        rows, count = chunk_rows(self.device), len(z)
        padding = (0, 0, 0, -count % rows)
        chunks = zip(pad(z, padding).split(rows), pad(share, padding).split(rows), strict=True)
        return torch.cat([self._model.bridge(*chunk) for chunk in chunks])[:count]

    def _draws(
        self,
        requests: Sequence[GenerationRequest],
        todo: Sequence[tuple[int, int]],
        codes: ReplyCodes,
    ) -> Draws:
        """What to decode for (request, draw) pairs, each with its own z."""
        sampling = [requests[index].sampling for index, _ in todo]

        def column(values: Sequence[float], dtype: torch.dtype) -> Tensor:
            return torch.tensor(values, dtype=dtype, device=self.device)

        request, number = (column(part, torch.int64) for part in zip(*todo, strict=True))
        seed = column([requests[index].seed for index, _ in todo], torch.int64)
        spread = column([s.latent_scale for s in sampling], torch.float32)[:, None]
        noise = normals(seed, number, codes.loc.shape[1])
        z = codes.loc[request] + spread * codes.scale[request] * noise
        return Draws(
            request=request,
            number=number,
            seed=seed,
            limit=column([s.max_tokens for s in sampling], torch.int64),
            rule=TokenRule(
                temperature=column([s.temperature for s in sampling], torch.float32),
                top_k=column([s.top_k for s in sampling], torch.int64),
                top_p=column([s.top_p for s in sampling], torch.float64),
            ),
            signal=self._signals(z, codes.share[request]),
        )

    def _accept_in_order(self, plan: _Plan, on_reply: OnReply) -> None:
        """Take in those finished draws before which none is still under way."""
        while plan.missing and plan.draws in plan.ahead:
            sequence = plan.ahead.pop(plan.draws)
            plan.accept(self._candidate(sequence, plan.request.sampling.stop), on_reply)

    def _said(self, ids: Sequence[int]) -> str:
        return detokenise(self._vocabulary.decode(ids))

    def _candidate(self, decoded: Decoded, stop: Sequence[str] = ()) -> Candidate:
        said = self._said(decoded.ids)
        text = before_first(said, stop)
        if text != said:
            return self._cut(decoded, text)
        return Candidate(
            text=text,
            log_prob_nats=decoded.log_prob_nats(),
            token_count=len(decoded.ids),
            finish_reason=FinishReason.END if decoded.has_ended else FinishReason.LENGTH,
        )

    def _cut(self, decoded: Decoded, text: str) -> Candidate:
        """The beginning of a reply; its tokens are the first ones that it takes to say it."""

        def says_it(count: int) -> bool:
            return self._said(decoded.ids[:count]).startswith(text)

        count = bisect_left(range(len(decoded.ids)), True, key=says_it)
        return Candidate(
            text=text,
            log_prob_nats=decoded.log_prob_nats(count),
            token_count=count,
            finish_reason=FinishReason.STOP,
        )


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


def resolve_precision(name: str, device: torch.device) -> str:
    """Either "fp32" or "bf16"; "auto" is bf16 where the hardware multiplies it natively.

    Raises:
        ConfigError: an unknown name.
    """
    if name not in PRECISIONS:
        raise ConfigError(f"precision {name!r}: allowed are {', '.join(PRECISIONS)}")
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bf16" if native else "fp32"
