"""Requests under way in one generator: they come, draw until they have their replies, and go.

Knows no asyncio, no grpc and no redis; use from one thread at a time.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from dialog_service.engine import Decoded, Decoding, Draws, Engine
from dialog_service.models.search import TokenRule, normals
from dialog_service.models.seq2seq import ReplyCodes
from dialog_service.replies import (
    Candidate,
    FinishReason,
    GenerationRequest,
    GenerationResult,
    OnReply,
)
from dialog_service.stops import before_first

Said = Callable[[Sequence[int]], str]
"""The text of token ids."""


@dataclass(slots=True, kw_only=True)
class Plan:
    """One request: what it may draw, what it has, and how far its draws have come.

    ``codes`` has one row. ``taken`` draws are begun, ``draws`` of them have been looked at.
    """

    request: GenerationRequest
    codes: ReplyCodes
    draw_limit: int
    context_truncated: bool
    taken: int = 0
    draws: int = 0
    found: dict[str, Candidate] = field(default_factory=dict)
    ahead: dict[int, Decoded] = field(default_factory=dict)  # finished before earlier draws

    @property
    def missing(self) -> int:
        """Replies still to be found."""
        return self.request.reply_count - len(self.found)

    @property
    def is_waiting(self) -> bool:
        """Whether draws that it needs are under way."""
        return bool(self.missing) and self.draws < self.taken

    def take_draws(self) -> range:
        """The next draws to make, within the limit; none where nothing is missing.

        As many as replies are wanted at first; then twice as many as should yield the missing
        ones, so that a model that repeats itself is not asked over and over for the last few.
        """
        needed = self.missing
        if not needed:
            return range(0)
        if self.draws:
            needed = -(-2 * needed * self.draws // max(1, len(self.found)))
        first = self.taken
        self.taken = min(first + needed, self.draw_limit)
        return range(first, self.taken)

    def take_in(self, sequence: Decoded, said: Said, on_reply: OnReply) -> None:
        """Keep a finished draw, and look at those before which none is still under way."""
        self.ahead[sequence.number] = sequence
        while self.missing and self.draws in self.ahead:
            decoded = self.ahead.pop(self.draws)
            self._accept(_candidate(decoded, said, self.request.sampling.stop), on_reply)

    def _accept(self, candidate: Candidate, on_reply: OnReply) -> None:
        """Keep the next draw, and tell of it, unless it is empty, known or not wanted."""
        self.draws += 1
        text = candidate.text
        if text and text not in self.request.excluded and text not in self.found:
            self.found[text] = candidate
            on_reply(len(self.found) - 1, candidate)

    def result(self) -> GenerationResult:
        """What there is of what was asked for."""
        return GenerationResult(
            candidates=tuple(self.found.values()),
            draws=self.draws,
            context_truncated=self.context_truncated,
        )


class Session:
    """The plans that are under way, numbered in the order in which they came."""

    def __init__(
        self,
        engine: Engine,
        max_tokens: int,
        said: Said,
        on_reply: Callable[[int, int, Candidate], None],
    ) -> None:
        """Nothing is under way.

        Args:
            engine: what decodes.
            max_tokens: the most that any reply may have.
            said: the text of token ids.
            on_reply: told a plan's number, the place of a reply in its result, and the reply, as
                soon as it and the draws before it are finished; places come in order.
        """
        self._engine = engine
        self._decoding = Decoding(engine, max_tokens)
        self._said = said
        self._on_reply = on_reply
        self._plans: dict[int, Plan] = {}
        self._count = 0

    @property
    def is_idle(self) -> bool:
        """Whether no plan is under way."""
        return not self._plans

    @property
    def begun(self) -> int:
        """Plans begun so far: the number of the next."""
        return self._count

    @property
    def live_rows(self) -> int:
        """Sequences under way."""
        return self._decoding.live_rows

    @torch.inference_mode()
    def add(self, plans: Sequence[Plan]) -> None:
        """Begin some plans; their first words come with the next step."""
        begun = {self._count + place: plan for place, plan in enumerate(plans)}
        self._count += len(plans)
        self._plans.update(begun)
        self._draw(begun)

    @torch.inference_mode()
    def step(self, is_abandoned: Callable[[int], bool]) -> dict[int, GenerationResult | None]:
        """One word for every sequence under way.

        Args:
            is_abandoned: asked with the number of each plan under way, before anything else; the
                rows of an abandoned one leave the batch.

        Returns:
            The results of the plans that are done with; None for an abandoned one.
        """
        gone = {number for number in self._plans if is_abandoned(number)}
        self._decoding.drop(gone.__contains__)
        for number in gone:
            del self._plans[number]
        touched = set()
        for sequence in self._decoding.step():
            touched.add(sequence.request)
            told = partial(self._on_reply, sequence.request)
            self._plans[sequence.request].take_in(sequence, self._said, told)
        self._draw({n: self._plans[n] for n in touched if not self._plans[n].is_waiting})
        done = [n for n in touched if not self._plans[n].is_waiting]
        self._decoding.drop(set(done).__contains__)  # draws of which it turned out that none needs
        finished = {number: self._plans.pop(number).result() for number in sorted(done)}
        return {**dict.fromkeys(gone), **finished}

    def _draw(self, plans: dict[int, Plan]) -> None:
        """Make the next draws of some plans, each with its own z."""
        draws = {number: plan.take_draws() for number, plan in plans.items()}
        todo = [(number, draw) for number, each in draws.items() for draw in each]
        if todo:
            self._decoding.join(_draws(self._engine, [(plans[n], n, draw) for n, draw in todo]))


def _draws(engine: Engine, todo: Sequence[tuple[Plan, int, int]]) -> Draws:
    """What to decode for (plan, its number, draw)."""
    requests = [plan.request for plan, _, _ in todo]
    sampling = [request.sampling for request in requests]

    def column(values: Sequence[float], dtype: torch.dtype) -> Tensor:
        return torch.tensor(values, dtype=dtype, device=engine.device)

    number = column([draw for _, _, draw in todo], torch.int64)
    seed = column([request.seed for request in requests], torch.int64)
    spread = column([s.latent_scale for s in sampling], torch.float32)[:, None]
    codes = ReplyCodes(*map(torch.cat, zip(*(plan.codes for plan, _, _ in todo), strict=True)))
    z = codes.loc + spread * codes.scale * normals(seed, number, engine.latent_dim)
    return Draws(
        request=column([request for _, request, _ in todo], torch.int64),
        number=number,
        seed=seed,
        limit=column([s.max_tokens for s in sampling], torch.int64),
        rule=TokenRule(
            temperature=column([s.temperature for s in sampling], torch.float32),
            top_k=column([s.top_k for s in sampling], torch.int64),
            top_p=column([s.top_p for s in sampling], torch.float64),
        ),
        signal=engine.signals(z, codes.share),
    )


def _candidate(decoded: Decoded, said: Said, stop: Sequence[str]) -> Candidate:
    whole = said(decoded.ids)
    text = before_first(whole, stop)
    if text != whole:
        return _cut(decoded, said, text)
    return Candidate(
        text=text,
        log_prob_nats=decoded.log_prob_nats(),
        token_count=len(decoded.ids),
        finish_reason=FinishReason.END if decoded.has_ended else FinishReason.LENGTH,
    )


def _cut(decoded: Decoded, said: Said, text: str) -> Candidate:
    """The beginning of a reply; its tokens are the first ones that it takes to say it."""

    def says_it(count: int) -> bool:
        return said(decoded.ids[:count]).startswith(text)

    count = bisect_left(range(len(decoded.ids)), True, key=says_it)
    return Candidate(
        text=text,
        log_prob_nats=decoded.log_prob_nats(count),
        token_count=count,
        finish_reason=FinishReason.STOP,
    )
