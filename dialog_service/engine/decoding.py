"""Many sequences under way at once. Knows token ids, not text.

A sequence is a pure function of (model, signal, rule, seed, draw): every product has rows of an
allowed number, and every random number is a function of its place, so neither batch-mates nor the
size of the batch change a sequence. So draws may join and leave between any two steps.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from dialog_service.engine.engine import Engine
from dialog_service.models.recurrence import State
from dialog_service.models.search import TokenRule, uniforms
from dialog_service.vocabulary import EOS, PAD


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """N sequences to decode: ``signal`` (N, G), all else and the parts of ``rule`` (N,).

    ``request`` is the number of the request a draw is for, ``number`` which of its draws it is,
    ``limit`` the tokens it may have.
    """

    request: Tensor
    number: Tensor
    seed: Tensor
    limit: Tensor
    rule: TokenRule
    signal: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """One sequence of a request: its ids without the end, and ln p of each, with the end's.

    ``has_ended`` says whether it came to its end.
    """

    request: int
    number: int
    ids: list[int]
    has_ended: bool
    log_probs_nats: list[float]

    def log_prob_nats(self, tokens: int | None = None) -> float:
        """Ln p of the first tokens, or of all with the end."""
        return math.fsum(self.log_probs_nats[:tokens])


_IDLE_PARTS = 8  # one of so many rows may idle: taking the others together costs something too


class _Rows(NamedTuple):
    """The sequences under way, N rows of each; those of words to come are (N, L).

    ``state`` has taken in the last word, so that it says which is next.
    """

    request: Tensor
    number: Tensor
    seed: Tensor
    limit: Tensor
    temperature: Tensor
    top_k: Tensor
    top_p: Tensor
    is_live: Tensor
    position: Tensor
    words: Tensor
    log_probs: Tensor
    uniforms: Tensor
    share: Tensor
    state: State

    def select(self, kept: Tensor | slice) -> "_Rows":
        """Some of them: (M,) indices or a slice."""
        *parts, state = self
        return _Rows._make([*(part[kept] for part in parts), tuple(part[kept] for part in state)])

    @property
    def rule(self) -> TokenRule:
        """How each picks a word."""
        return TokenRule(temperature=self.temperature, top_k=self.top_k, top_p=self.top_p)


class Decoding:
    """The sequences that an engine decodes at the moment."""

    def __init__(self, engine: Engine, max_tokens: int) -> None:
        """Nothing is under way.

        Args:
            engine: what decodes.
            max_tokens: the most that any sequence may have.
        """
        self._engine = engine
        self._max_tokens = max_tokens
        self._rows: _Rows | None = None
        self._live: dict[int, int] = {}  # sequences under way of each request

    @property
    def live_rows(self) -> int:
        """Sequences under way."""
        return sum(self._live.values())

    def join(self, draws: Draws) -> None:
        """Take in some draws; their first words come with the next step."""
        share, state = self._engine.start(draws.signal)
        count = len(draws.signal)
        words = torch.full((count, self._max_tokens), PAD, device=share.device)
        new = _Rows(
            request=draws.request,
            number=draws.number,
            seed=draws.seed,
            limit=draws.limit,
            temperature=draws.rule.temperature,
            top_k=draws.rule.top_k,
            top_p=draws.rule.top_p,
            is_live=torch.ones(count, dtype=torch.bool, device=share.device),
            position=torch.zeros_like(draws.request),
            words=words,
            log_probs=torch.zeros(words.shape, dtype=torch.float64, device=share.device),
            uniforms=_uniforms(draws, self._max_tokens),
            share=share,
            state=state,
        )
        rows = [self._rows.select(self._live_index())] if self._live and self._rows else []
        self._rows = self._filled(_joined([*rows, new]))
        for number in draws.request.tolist():
            self._live[number] = self._live.get(number, 0) + 1

    def drop(self, is_abandoned: Callable[[int], bool]) -> None:
        """Let go of the requests whose callers have gone: asked once of each under way."""
        for number in [number for number in self._live if is_abandoned(number)]:
            assert self._rows is not None
            self._rows.is_live[self._rows.request == number] = False
            del self._live[number]

    def step(self) -> list[Decoded]:
        """One word for every sequence under way; those that end with it."""
        if not self._live or self._rows is None:
            return []
        count = len(self._rows.request)
        if count - self._engine.shape.padded(self.live_rows) > count // _IDLE_PARTS:
            self._rows = self._filled(self._rows.select(self._live_index()))
        words = self._choose(self._rows)
        ended = self._leave(self._rows, words)
        if self._live:
            state = self._engine.advance(words, self._rows.share, self._rows.state)
            self._rows = self._rows._replace(state=state)
        return ended

    def _live_index(self) -> Tensor:
        assert self._rows is not None
        return self._rows.is_live.nonzero().squeeze(1)

    def _filled(self, rows: _Rows) -> _Rows:
        """With idle rows, copies of the first, up to an allowed number."""
        count = len(rows.request)
        idle = self._engine.shape.padded(count) - count
        if not idle:
            return rows
        places = torch.arange(count + idle, device=rows.request.device)
        filled = rows.select(places.where(places < count, 0))
        filled.is_live[count:] = False
        return filled

    def _choose(self, rows: _Rows) -> Tensor:
        """(N,) the next words; they and their log-probabilities are taken down."""
        # An idle row may be one that has come to the end of its words.
        place = rows.position.clamp_max(self._max_tokens - 1)[:, None]
        uniform = rows.uniforms.gather(1, place).squeeze(1)
        # A reply says something before it ends.
        words, log_probs = self._engine.choose(rows.state, rows.rule, uniform, rows.position > 0)
        rows.words.scatter_(1, place, words[:, None])
        rows.log_probs.scatter_(1, place, log_probs.double()[:, None])
        return words

    def _leave(self, rows: _Rows, words: Tensor) -> list[Decoded]:
        """Count a word on; the sequences that ended with it are live no more."""
        rows.position.add_(rows.is_live)
        ended = rows.is_live & ((words == EOS) | (rows.position >= rows.limit))
        index = ended.nonzero().squeeze(1)
        if not len(index):
            return []
        rows.is_live[index] = False
        parts = (rows.request, rows.number, rows.words, rows.log_probs)
        columns = (part[index].tolist() for part in parts)
        found = [_decoded(*values) for values in zip(*columns, strict=True)]
        for sequence in found:
            self._live[sequence.request] -= 1
            if not self._live[sequence.request]:
                del self._live[sequence.request]
        return found


def _uniforms(draws: Draws, count: int) -> Tensor:
    """(N, L) for every word to come; of no use where none is drawn."""
    rows = len(draws.seed)
    if not (draws.rule.temperature > 0).any():
        return torch.zeros(rows, count, dtype=torch.float64, device=draws.seed.device)
    seeds, numbers = (part.repeat_interleave(count) for part in (draws.seed, draws.number))
    positions = torch.arange(count, device=draws.seed.device).repeat(rows)
    return uniforms(seeds, numbers, positions).view(rows, count)


def _joined(parts: list[_Rows]) -> _Rows:
    """The rows of all, in order."""
    if len(parts) == 1:
        return parts[0]
    *columns, states = zip(*parts, strict=True)
    state = tuple(torch.cat(each) for each in zip(*states, strict=True))
    return _Rows._make([*map(torch.cat, columns), state])


def _decoded(request: int, number: int, ids: list[int], log_probs: list[float]) -> Decoded:
    """From one row, filled up with padding, which is never said, and zeros."""
    has_ended = EOS in ids
    words = ids[: ids.index(EOS if has_ended else PAD)] if has_ended or PAD in ids else ids
    return Decoded(
        request=request,
        number=number,
        ids=words,
        has_ended=has_ended,
        log_probs_nats=log_probs[: len(words) + has_ended],
    )
