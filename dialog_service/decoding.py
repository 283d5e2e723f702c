"""Many sequences decoded at once, in chunks of one fixed shape. Knows token ids, not text.

A sequence is a pure function of (model, signal, rule, seed, draw): whatever could depend on its
shape runs on a fixed number of rows, and every random number is a function of its place, so
neither batch-mates nor the size of the batch change a sequence.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from dialog_service.models.decoder import Decoder
from dialog_service.models.search import TokenRule, pick, uniforms
from dialog_service.vocabulary import BOS, EOS, PAD


def chunk_rows(device: torch.device) -> int:
    """Rows of every product: one shape, because a library may add up differently in another.

    Few waste little on a lone request; a GPU has the room, and dreads many small calls.
    """
    return 256 if device.type == "cuda" else 32


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

    def rows(self, kept: Tensor | slice) -> "Draws":
        """Some of them: (M,) indices or a slice."""
        return Draws(
            request=self.request[kept],
            number=self.number[kept],
            seed=self.seed[kept],
            limit=self.limit[kept],
            rule=self.rule.rows(kept),
            signal=self.signal[kept],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """One sequence: its ids without the end, whether it came to one, and ln p of each with it."""

    ids: list[int]
    has_ended: bool
    log_probs_nats: list[float]

    def log_prob_nats(self, tokens: int | None = None) -> float:
        """Ln p of the first tokens, or of all with the end."""
        return math.fsum(self.log_probs_nats[:tokens])


class Decoding:
    """One pass over some draws, from their first words to their ends."""

    def __init__(self, decoder: Decoder, draws: Draws) -> None:
        """Fill up the last chunk with idle rows, and make room for the longest sequence."""
        self._decoder = decoder
        self._chunk = chunk_rows(draws.signal.device)
        count, device = len(draws.signal), draws.signal.device
        idle = torch.zeros(-count % self._chunk, dtype=torch.int64, device=device)
        self._slot = torch.cat([torch.arange(count, device=device), idle])
        self._draws = draws.rows(self._slot)
        self._is_live = torch.arange(len(self._slot), device=device) < count
        self._previous = torch.full_like(self._slot, BOS)
        self._state = decoder.start(self._draws.signal)
        self._words = torch.full((count, int(draws.limit.max())), PAD, device=device)
        self._log_probs = torch.zeros(self._words.shape, dtype=torch.float64, device=device)

    def run(self, is_abandoned: Callable[[int], bool]) -> Iterator[tuple[int, Decoded]]:
        """Decode every draw; finished and abandoned ones leave the batch.

        Args:
            is_abandoned: asked with the number of each request under way before every step.

        Yields:
            The place of a draw among all, and its sequence, as soon as it is finished; nothing of
            those whose request was abandoned.
        """
        for position in range(self._words.shape[1]):
            self._drop(is_abandoned)
            live = int(self._is_live.sum())
            if not live:
                break
            if len(self._is_live) - live >= self._chunk:
                self._compact()
            yield from self._sequences(self._advance(position))

    def _drop(self, is_abandoned: Callable[[int], bool]) -> None:
        requests = self._draws.request
        for number in set(requests[self._is_live].tolist()):
            if is_abandoned(number):
                self._is_live &= requests != number

    def _compact(self) -> None:
        """Keep the live rows, and idle ones to fill up their last chunk."""
        live = self._is_live.nonzero().squeeze(1)
        idle = (~self._is_live).nonzero().squeeze(1)
        kept = torch.cat([live, idle[: -len(live) % self._chunk]])
        self._draws, self._slot = self._draws.rows(kept), self._slot[kept]
        self._is_live, self._previous = self._is_live[kept], self._previous[kept]
        self._state = tuple(part[kept] for part in self._state)

    def _sequences(self, slots: Tensor) -> Iterator[tuple[int, Decoded]]:
        """What stands in some slots; mostly there are none, and a GPU is not to be waited for."""
        if not len(slots):
            return
        rows = (part.tolist() for part in (slots, self._words[slots], self._log_probs[slots]))
        for place, ids, log_probs in zip(*rows, strict=True):
            yield place, _decoded(ids, log_probs)

    def _advance(self, position: int) -> Tensor:
        """One word for every row, chunk by chunk; the slots of the sequences that end with it."""
        starts = range(0, len(self._slot), self._chunk)
        chunks = [self._step(slice(s, s + self._chunk), position) for s in starts]
        words, gained, *state = (torch.cat(parts) for parts in zip(*chunks, strict=True))
        self._previous, self._state = words, tuple(state)
        slot = self._slot[self._is_live]
        self._words[slot, position] = words[self._is_live]
        self._log_probs[slot, position] = gained[self._is_live]
        goes_on = (words != EOS) & (position + 1 < self._draws.limit)
        ended = self._slot[self._is_live & ~goes_on]
        self._is_live &= goes_on
        return ended

    def _step(self, chunk: slice, position: int) -> tuple[Tensor, ...]:
        """The next words of a chunk and their ln p, both (C,), and the decoder's state after."""
        draws = self._draws.rows(chunk)
        state = tuple(part[chunk] for part in self._state)
        step = self._decoder.step if position else self._decoder.first_step
        scores, state = step(self._previous[chunk], draws.signal, state)
        # Padding, unknown and begin are no words, and a reply says something before it ends.
        scores[:, : EOS if position else EOS + 1] = -torch.inf
        words = pick(scores, draws.rule, uniforms(draws.seed, draws.number, position)[:, 0])
        log_probs = scores.log_softmax(dim=1).double()
        return words, log_probs.gather(1, words[:, None]).squeeze(1), *state


def _decoded(ids: list[int], log_probs: list[float]) -> Decoded:
    """From one row, filled up with padding, which is never said, and zeros."""
    words = [i for i in ids if i not in (PAD, EOS)]
    has_ended = EOS in ids
    return Decoded(
        ids=words, has_ended=has_ended, log_probs_nats=log_probs[: len(words) + has_ended]
    )
