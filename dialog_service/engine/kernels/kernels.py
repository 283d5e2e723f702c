"""The compiled functions, called with tensors."""

import ctypes
import functools
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from dialog_service.compiled import COUNT, POINTER, BuildError, Source, fields, opened, pointers
from dialog_service.engine.kernels.weights import BLOCK, PackedWeights, filled

SOURCE = Source(Path(__file__).parent, "kernels")
_ROWS = 16  # of a tile
_LITTLE_WORK = 2**24  # products of two numbers; a core makes them in about 40 microseconds


class _Weights(ctypes.Structure):
    """``products::Weights``."""

    _fields_ = [*fields(POINTER, "levels zeros scales bias"), *fields(COUNT, "outputs inputs")]


class _Words(ctypes.Structure):
    """``words::Call``."""

    _fields_ = [
        ("weights", _Weights),
        *fields(COUNT, "has_tiles threads rows width"),
        *fields(POINTER, "features heat top_k top_p uniform may_end"),
        *fields(COUNT, "end_word"),
        *fields(POINTER, "levels largest best sums heated scores words log_probs"),
    ]


class _Cells(ctypes.Structure):
    """``cells::Call``."""

    _fields_ = [
        ("weights", _Weights),
        *fields(COUNT, "has_tiles threads kind rows units"),
        *fields(POINTER, "share table words hidden cell levels largest next_hidden next_cell"),
    ]


class _Rows(ctypes.Structure):
    """``rows::Call``."""

    _fields_ = [
        ("weights", _Weights),
        *fields(COUNT, "has_tiles threads rows width outputs"),
        *fields(POINTER, "inputs levels largest found"),
    ]


class CellKind(IntEnum):
    """A recurrent layer; ``gates::Kind``."""

    LSTM = 0
    GRU = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Picking:
    """How each of N rows picks a word; ``end_word`` is the one that rows may be forbidden."""

    heat: Tensor  # float32, 1 / temperature, or 0 for the likeliest word
    top_k: Tensor  # int64, 0 is all
    top_p: Tensor  # float64
    uniform: Tensor  # float64 in (0, 1)
    may_end: Tensor  # bool
    end_word: int


class Given(NamedTuple):
    """What N rows are given: the sum of a share of their own and of their words' in a table."""

    share: Tensor | None  # (N, GH) float32
    table: Tensor | None  # (V, GH) float32
    words: Tensor | None  # (N,) int64; both or neither

    def total(self) -> Tensor:
        """(N, GH)."""
        if self.table is None:
            assert self.share is not None
            return self.share
        looked_up = self.table[self.words]
        return looked_up if self.share is None else looked_up.add_(self.share)


class Choice(NamedTuple):
    """What N rows chose: (N,) words, (N,) ln p in nats, (N, O) scores where they were kept."""

    words: Tensor
    log_probs: Tensor
    scores: Tensor | None


@dataclass(frozen=True, slots=True)
class Kernels:
    """The library, and whether this processor has matrix units for it."""

    library: ctypes.CDLL
    has_tiles: bool

    @property
    def name(self) -> str:
        """Of the instructions that multiply."""
        return "AMX" if self.has_tiles else "AVX512-VNNI"

    def multiply(self, weights: PackedWeights, x: Tensor, outputs: int) -> Tensor:
        """(N, I) float32 -> (N, O) float32, the first of the weights' outputs."""
        x = x.contiguous()
        levels, largest = _room(weights, len(x))  # held by name while the call has their addresses
        found = torch.empty(len(x), outputs)
        call = _Rows(
            *self._work(weights, len(x)), *x.shape, outputs,
            *pointers(x, levels, largest, found),
        )  # fmt: skip
        self.library.multiply_rows(ctypes.byref(call))
        return found

    def _work(self, weights: PackedWeights, rows: int) -> tuple[_Weights, bool, int]:
        """What every call begins with; as many threads as there is work for.

        How many changes no bit. Two that wait for each other lose more on little work than win.
        """
        pointed = _Weights(*pointers(*weights), weights.outputs, weights.inputs)
        is_little = rows * weights.outputs * weights.inputs < _LITTLE_WORK
        return pointed, self.has_tiles, 1 if is_little else torch.get_num_threads()

    def choose_words(
        self, weights: PackedWeights, features: Tensor, picking: Picking, *, keeps_scores: bool
    ) -> Choice:
        """The next word of each of N rows, as ``search.choose`` finds it from the same scores.

        Args:
            weights: of the vocabulary's product.
            features: (N, I) float32.
            picking: of N rows.
            keeps_scores: needed where heat and a ``top_k`` or ``top_p`` leave words out; of such
                rows alone they are kept.
        """
        rows, blocks = len(features), weights.outputs // BLOCK
        features = features.contiguous()
        levels, largest = _room(weights, rows)
        best, sums, heated = torch.empty(3, blocks, rows)
        scores = torch.empty(rows, weights.outputs) if keeps_scores else None
        words, log_probs = torch.empty(rows, dtype=torch.int64), torch.empty(rows)
        call = _Words(
            *self._work(weights, rows), *features.shape,
            *pointers(features, picking.heat, picking.top_k, picking.top_p),
            *pointers(picking.uniform, picking.may_end), picking.end_word,
            *pointers(levels, largest, best, sums, heated, scores, words, log_probs),
        )  # fmt: skip
        self.library.choose_words(ctypes.byref(call))
        return Choice(words, log_probs, scores)

    def advance_cells(
        self, kind: CellKind, weights: PackedWeights, given: Given, state: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        """The state of N rows after a step, as ``Recurrence.advance`` has it.

        Args:
            kind: of the layer.
            weights: of its recurrent product, from ``pack_cell``.
            given: the input's share of the gates.
            state: hidden, and the cell of an LSTM, (N, H) float32.
        """
        rows, units = state[0].shape
        state = tuple(part.contiguous() for part in state)
        given = Given(*(part if part is None else part.contiguous() for part in given))
        levels, largest = _room(weights, rows)
        after = tuple(torch.empty_like(part) for part in state)
        of_gru = () if kind is CellKind.LSTM else (None,)
        call = _Cells(
            *self._work(weights, rows), kind, rows, units,
            *pointers(*given, *state, *of_gru, levels, largest, *after, *of_gru),
        )  # fmt: skip
        self.library.advance_cells(ctypes.byref(call))
        return after


def _room(weights: PackedWeights, rows: int) -> tuple[Tensor, Tensor]:
    """For the levels of the rows, and the magnitudes that they are of."""
    levels = torch.empty(filled(rows, _ROWS), weights.inputs, dtype=torch.uint8)
    return levels, torch.empty(rows)


def find_kernels() -> Kernels | None:
    """The kernels, compiled if need be; None where they cannot run."""
    found = _look_for_kernels()
    return None if isinstance(found, str) else found


def explain_kernels() -> str:
    """What the kernels are compiled for, or why torch stands in for them."""
    found = _look_for_kernels()
    return f"torch, {found}" if isinstance(found, str) else f"compiled for {found.name}"


_CALLS: dict[str, type[ctypes.Structure]] = {
    "multiply_rows": _Rows,
    "choose_words": _Words,
    "advance_cells": _Cells,
}


@functools.cache
def _look_for_kernels() -> Kernels | str:
    if not (torch.cpu._is_vnni_supported() and torch.cpu._is_avx512_supported()):
        return "kernels need AVX512-VNNI"
    try:
        found = opened(SOURCE, _CALLS)
    except (BuildError, OSError) as error:
        return f"which takes two to four times as long as compiled kernels: {error}"
    has_tiles = bool(torch.cpu._is_amx_tile_supported() and found.allow_tiles())
    return Kernels(found, has_tiles)
