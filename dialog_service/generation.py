"""N different replies to each of many contexts at once. Knows no asyncio, no grpc and no redis.

A reply is a pure function of (model, context, sampling, seed, draw): every product runs on a fixed
number of rows, every random number is a function of its place, so neither batch-mates nor the
size of the batch change a reply. Draws that repeat a text are drawn again, in order, so that the
first five of ten replies are the five.
"""

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from dialog_service.checkpoint import Checkpoint, load_checkpoint
from dialog_service.errors import ConfigError
from dialog_service.models.config import ModelConfig
from dialog_service.models.recurrence import Recurrence
from dialog_service.models.search import TokenRule, normals, pick, uniforms
from dialog_service.text import detokenise, normalise
from dialog_service.vocabulary import BOS, EOS, PAD, UNK, Vocabulary

# Rows of every product in decoding. One shape, because a library may add up in another order for
# another shape, and a reply may not depend on how many rows happened to share its batch.
CHUNK_ROWS = 32
PRECISIONS = ("auto", "fp32", "bf16")


class FinishReason(enum.StrEnum):
    """Why a reply ended: it said so, or it reached the limit of tokens."""

    END = "end"
    LENGTH = "length"


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParameters:
    """How tokens and codes are drawn.

    ``temperature`` 0 is greedy given z; ``top_k`` 0 and ``top_p`` 1 leave every word in;
    ``latent_scale`` multiplies the deviation of z.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    max_tokens: int = 40
    latent_scale: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRequest:
    """One context and how many replies to it; texts in ``excluded`` are not returned."""

    turns: tuple[str, ...]
    reply_count: int
    sampling: SamplingParameters
    seed: int
    excluded: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One reply; its log-probability is the model's own given z, at temperature one, in nats."""

    text: str
    log_prob_nats: float
    token_count: int
    finish_reason: FinishReason


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationResult:
    """Different replies in the order drawn, perhaps fewer than asked for; raw draws made."""

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


def never(_: int) -> bool:
    """Nobody gives up."""
    return False


def context_ids(turns: Sequence[Sequence[int]], model: ModelConfig) -> list[int]:
    """The ids a model sees of a dialog: its last turns, joined by EOS, cut from the left."""
    joined: list[int] = []
    for ids in turns[-model.context_turns :]:
        joined += [*([EOS] if joined else []), *ids]
    return joined[-model.max_context_tokens :] or [UNK]


@dataclass(slots=True)
class _Plan:
    """One request under way: what it has, and how far its draws have come."""

    request: GenerationRequest
    draw_limit: int
    context_truncated: bool
    draws: int = 0
    is_abandoned: bool = False
    found: dict[str, Candidate] = field(default_factory=dict)

    def take_draws(self) -> range:
        """The next draws to make: as many as replies are missing, within the limit."""
        missing = 0 if self.is_abandoned else self.request.reply_count - len(self.found)
        taken = range(self.draws, min(self.draws + missing, self.draw_limit))
        self.draws = taken.stop if taken else self.draws
        return taken

    def accept(self, candidate: Candidate) -> None:
        """Keep a candidate unless it is empty, known, or not wanted."""
        if candidate.text and candidate.text not in self.request.excluded:
            self.found.setdefault(candidate.text, candidate)

    def result(self) -> GenerationResult | None:
        """What was asked for, or None where the caller has gone."""
        if self.is_abandoned:
            return None
        return GenerationResult(
            candidates=tuple(self.found.values()),
            draws=self.draws,
            context_truncated=self.context_truncated,
        )


@dataclass(slots=True)
class _Rows:
    """Sequences being decoded: (N,) bookkeeping, padded to whole chunks by idle rows.

    ``owner`` is the index of the row's plan, -1 for an idle row; ``slot`` where its tokens go.
    """

    owner: Tensor
    slot: Tensor
    seeds: Tensor
    draws: Tensor
    limits: Tensor
    rule: TokenRule
    z: Tensor
    previous: Tensor
    state: tuple[Tensor, ...]

    def keep(self, kept: Tensor) -> "_Rows":
        """Some of the rows, (M,) indices."""
        return _Rows(
            owner=self.owner[kept],
            slot=self.slot[kept],
            seeds=self.seeds[kept],
            draws=self.draws[kept],
            limits=self.limits[kept],
            rule=self.rule.rows(kept),
            z=self.z[kept],
            previous=self.previous[kept],
            state=tuple(part[kept] for part in self.state),
        )


@dataclass(slots=True)
class _Sequence:
    """Tokens of one draw."""

    ids: list[int] = field(default_factory=list)
    log_prob: float = 0.0
    finish: FinishReason = FinishReason.LENGTH


class Generator:
    """Replies with one loaded checkpoint, on one device; use from one thread at a time."""

    def __init__(
        self, checkpoint: Checkpoint, *, device: str = "auto", precision: str = "auto"
    ) -> None:
        """Place the model.

        Args:
            checkpoint: as loaded; its model is changed in place.
            device: "auto", or what torch.device takes.
            precision: "fp32"; "bf16" runs the recurrent products in bfloat16; "auto" takes bf16
                where the hardware multiplies it natively.

        Raises:
            ConfigError: an unknown device or precision.
        """
        self.device = resolve_device(device)
        self.meta = checkpoint.meta
        self._model = checkpoint.model.eval().to(self.device)
        self._vocabulary: Vocabulary = checkpoint.vocabulary
        if resolve_precision(precision, self.device) == "bf16":
            for module in self._model.modules():
                if isinstance(module, Recurrence):
                    module.to(torch.bfloat16)
        config = self._model.config
        self.limits = ModelLimits(
            max_context_tokens=config.max_context_tokens,
            max_reply_tokens=config.max_response_tokens,
            vocab_size=config.vocab_size,
            context_turns=config.context_turns,
        )
        self.defaults = SamplingParameters(
            **checkpoint.sampling.model_dump(), max_tokens=config.max_response_tokens
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
    ) -> list[GenerationResult | None]:
        """Reply to each request.

        Args:
            requests: any number, of any mix of parameters.
            is_abandoned: asked with a request's index before each decode step; the rows of an
                abandoned request leave the batch.

        Returns:
            One result per request, in order; None for an abandoned one.
        """
        if not requests:
            return []
        contexts, truncated = self._contexts(requests)
        plans = [
            _Plan(request, self._draw_limit(request), cut)
            for request, cut in zip(requests, truncated, strict=True)
        ]
        loc, scale = self._codes(contexts)
        while todo := [(i, draw) for i, plan in enumerate(plans) for draw in plan.take_draws()]:
            rows = self._start(requests, todo, loc, scale)
            sequences = self._decode(rows, len(todo), plans, is_abandoned)
            for (index, _), sequence in zip(todo, sequences, strict=True):
                plans[index].accept(self._candidate(sequence))
        return [plan.result() for plan in plans]

    def _draw_limit(self, request: GenerationRequest) -> int:
        """Draws after which a request makes do with what it has; one where all are the same."""
        z_varies = not self.is_deterministic and request.sampling.latent_scale > 0
        if request.sampling.temperature == 0 and not z_varies:
            return 1
        return 3 * request.reply_count + 16

    def _contexts(
        self, requests: Sequence[GenerationRequest]
    ) -> tuple[list[list[int]], list[bool]]:
        contexts, truncated = [], []
        for request in requests:
            turns = [self._vocabulary.encode(normalise(turn)) for turn in request.turns]
            ids = context_ids(turns, self._model.config)
            contexts.append(ids)
            whole = sum(map(len, turns)) + len(turns) - 1
            truncated.append(len(ids) < whole)
        return contexts, truncated

    def _codes(self, contexts: Sequence[list[int]]) -> tuple[Tensor, Tensor]:
        """Loc and scale of z, each (requests, Z), encoded in chunks of fixed rows."""
        parts = []
        for start in range(0, len(contexts), CHUNK_ROWS):
            chunk = list(contexts[start : start + CHUNK_ROWS])
            idle = [[UNK]] * (CHUNK_ROWS - len(chunk))
            lengths = torch.tensor([len(ids) for ids in chunk + idle])
            ids = torch.full((CHUNK_ROWS, int(lengths.max())), PAD)
            for row, context in enumerate(chunk + idle):
                ids[row, : len(context)] = torch.tensor(context)
            loc, scale = self._model.infer_stepwise(ids.to(self.device), lengths.to(self.device))
            parts.append((loc[: len(chunk)], scale[: len(chunk)]))
        return torch.cat([loc for loc, _ in parts]), torch.cat([scale for _, scale in parts])

    def _start(
        self,
        requests: Sequence[GenerationRequest],
        todo: Sequence[tuple[int, int]],
        loc: Tensor,
        scale: Tensor,
    ) -> _Rows:
        """Rows for draws, before their first word; idle rows repeat the first."""
        padded = [*todo, *[todo[0]] * (-len(todo) % CHUNK_ROWS)]
        chosen = [requests[index] for index, _ in padded]

        def column(values: Sequence[float], dtype: torch.dtype) -> Tensor:
            return torch.tensor(values, dtype=dtype, device=self.device)

        owner = column([index for index, _ in padded], torch.int64)
        seeds = column([request.seed for request in chosen], torch.int64)
        draws = column([draw for _, draw in padded], torch.int64)
        spread = column([r.sampling.latent_scale for r in chosen], torch.float32)[:, None]
        z = loc[owner] + spread * scale[owner] * normals(seeds, draws, loc.shape[1])
        owner[len(todo) :] = -1
        return _Rows(
            owner=owner,
            slot=torch.arange(len(padded), device=self.device),
            seeds=seeds,
            draws=draws,
            limits=column([r.sampling.max_tokens for r in chosen], torch.int64),
            rule=TokenRule(
                temperature=column([r.sampling.temperature for r in chosen], torch.float64),
                top_k=column([r.sampling.top_k for r in chosen], torch.int64),
                top_p=column([r.sampling.top_p for r in chosen], torch.float64),
            ),
            z=z,
            previous=torch.full_like(owner, BOS),
            state=self._model.decoder.start(z),
        )

    def _decode(
        self,
        rows: _Rows,
        count: int,
        plans: Sequence[_Plan],
        is_abandoned: Callable[[int], bool],
    ) -> list[_Sequence]:
        """Decode rows to their ends; finished and abandoned ones leave the batch."""
        sequences = [_Sequence() for _ in range(count)]
        position = 0
        while True:
            self._drop_abandoned(rows, plans, is_abandoned)
            live = int((rows.owner >= 0).sum())
            if not live:
                return sequences
            if len(rows.owner) - live >= CHUNK_ROWS:
                rows = rows.keep(_compacted(rows.owner))
            self._advance(rows, position, sequences)
            position += 1

    def _advance(self, rows: _Rows, position: int, sequences: list[_Sequence]) -> None:
        """One word for every row, chunk by chunk."""
        scores = self._scores(rows)
        scores[:, [PAD, UNK, BOS]] = -torch.inf
        if position == 0:
            scores[:, EOS] = -torch.inf  # a reply says something
        uniform = uniforms(rows.seeds, rows.draws, position)[:, 0]
        chosen = pick(scores, rows.rule, uniform)
        gained = functional.log_softmax(scores, dim=1).gather(1, chosen[:, None])[:, 0]
        rows.previous = chosen
        ends = (chosen == EOS) | (position + 1 >= rows.limits)
        live = (rows.owner >= 0).nonzero().squeeze(1)
        columns = (rows.slot, chosen, gained)
        for slot, word, log_prob in zip(*(part[live].tolist() for part in columns), strict=True):
            sequence = sequences[slot]
            sequence.log_prob += log_prob
            if word == EOS:
                sequence.finish = FinishReason.END
            else:
                sequence.ids.append(word)
        rows.owner[ends] = -1

    def _scores(self, rows: _Rows) -> Tensor:
        """(N, V) float32 scores of the next word, moving the rows' state on."""
        scores, states = [], []
        for start in range(0, len(rows.owner), CHUNK_ROWS):
            chunk = slice(start, start + CHUNK_ROWS)
            state = (rows.state[0][chunk], rows.state[1][chunk])
            score, state = self._model.decoder.step(rows.previous[chunk], rows.z[chunk], state)
            scores.append(score)
            states.append(state)
        rows.state = tuple(torch.cat(parts) for parts in zip(*states, strict=True))
        return torch.cat(scores)

    def _drop_abandoned(
        self, rows: _Rows, plans: Sequence[_Plan], is_abandoned: Callable[[int], bool]
    ) -> None:
        for index in set(rows.owner.tolist()) - {-1}:
            if is_abandoned(index):
                plans[index].is_abandoned = True
                rows.owner[rows.owner == index] = -1

    def _candidate(self, sequence: _Sequence) -> Candidate:
        return Candidate(
            text=detokenise(self._vocabulary.decode(sequence.ids)),
            log_prob_nats=sequence.log_prob,
            token_count=len(sequence.ids),
            finish_reason=sequence.finish,
        )


def _compacted(owner: Tensor) -> Tensor:
    """Indices of the live rows, padded with idle ones to whole chunks."""
    live = (owner >= 0).nonzero().squeeze(1)
    idle = (owner < 0).nonzero().squeeze(1)
    return torch.cat([live, idle[: -len(live) % CHUNK_ROWS]])


def resolve_device(name: str) -> torch.device:
    """The device of a name; "auto" is CUDA where there is one.

    Raises:
        ConfigError: no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"device {name!r} cannot be used here: {reason}") from error
    return device


def resolve_precision(name: str, device: torch.device) -> str:
    """ "fp32" or "bf16"; "auto" is bf16 where the hardware multiplies it natively.

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
