"""The compiled functions, called with tensors."""

import ctypes
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from dialog_service.compiled import BuildError, Source, opened, pointers
from dialog_service.models.recurrence import CellKind, Parts
from train.kernels.structures import DropoutCall, LinearCall, WalkCall, WordsCall

SOURCE = Source(Path(__file__).parent, "step")
# A target's; above, words may not be told apart. Less than ``words::kMostNats``, where powers are
# cut: the logarithm of a row that is but one of these is rounded to either side of that.
MOST_NATS = 59.0
_ROWS = 32  # that are multiplied, and walk, together
_CHUNK = 256  # words that are
_PART = 1024  # rows whose powers are held at once
_SLOTS = 4
_KINDS: dict[CellKind, int] = {"lstm": 0, "gru": 1}


class Route(NamedTuple):
    """In what order rows walk: longest first, thirty-two of them together."""

    order: Tensor  # (B,) int64
    lengths: Tensor  # (B,) int64, by row
    first_step: Tensor  # (groups + 1,) int64: how many steps the groups before have
    first_tile: Tensor  # (groups + 1,) int64: how many tiles of rows the groups before fill

    @property
    def groups(self) -> int:
        """How many there are."""
        return len(self.first_step) - 1

    @property
    def places(self) -> int:
        """Rows of all groups at all of their steps."""
        return int(self.first_step[-1]) * _ROWS

    @property
    def filled(self) -> int:
        """The same without those that have ended, but for what fills up a group's last tile."""
        return int(self.first_tile[-1]) * _ROWS


def route(lengths: Tensor) -> Route:
    """The route of rows of (B,) ``lengths``."""
    ordered, order = lengths.sort(descending=True, stable=True)
    pairs = torch.stack([group[::2].sum() for group in ordered.split(_ROWS)])  # the longer rows
    tiles = -(-pairs // (_ROWS // 2))
    before = (_before(counts) for counts in (ordered[::_ROWS], tiles))
    return Route(order, lengths.contiguous(), *before)


def _before(counts: Tensor) -> Tensor:
    """(N,) counts -> (N + 1,) how many come before each, and in all."""
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])


class Reading(NamedTuple):
    """How a layer of a kind reads rows.

    ``is_reversed``: each from its end to its beginning. ``has_last``: to find its last state alone.
    """

    kind: CellKind
    route: Route
    is_reversed: bool = False
    has_last: bool = False


class Walked(NamedTuple):
    """What a walk leaves: its hidden states, and what the way back needs."""

    hidden: Tensor  # (B, T, H) float32, zeros at padding, or (B, H) the last
    seen: Tensor
    active: Tensor
    cells: Tensor


class WalkGrads(NamedTuple):
    """Gradients of a walk's inputs, (B, T, I) with zeros at padding, and of its parameters."""

    inputs: Tensor
    parts: Parts


class Operands(NamedTuple):
    """What is compared: (N, O) features, (V, O) weights, (V,) biases, (N,) targets."""

    features: Tensor
    weight: Tensor
    bias: Tensor
    targets: Tensor


class Losses(NamedTuple):
    """Of N rows: (N,) nats of the target, its (N,) score, and gradients of the summed powers.

    The gradients are those of ``scale`` times the sum over rows of log sum over words of e^score:
    softmax without its target.
    """

    nats: Tensor
    target_scores: Tensor
    features_grad: Tensor
    weight_grad: Tensor
    bias_grad: Tensor


@dataclass(frozen=True, slots=True)
class Kernels:
    """The library."""

    library: ctypes.CDLL

    def __deepcopy__(self, _: object) -> "Kernels":
        """A process has one library, which copies of a model share."""
        return self

    def walk(self, reading: Reading, x: Tensor, parts: Parts) -> Walked:
        """A recurrent layer over sequences, as ``Recurrence.sequence`` and ``last`` have it.

        Args:
            reading: of the rows.
            x: (B, T, I) float32.
            parts: the layer's parameters, float32.
        """
        _check_type(torch.float32, x, *parts)
        _check_type(torch.int64, *reading.route)
        _check_range("lengths", reading.route.lengths, 1, x.shape[1])
        x = x.contiguous()
        rows, width, _ = x.shape
        sizes, route = _Sizes.of(rows, width, parts), reading.route
        shape = (rows,) if reading.has_last else (rows, width)
        walked = Walked(
            hidden=x.new_empty(*shape, sizes.units),
            seen=x.new_empty(route.places, _spaced(sizes.depth, _ROWS), dtype=torch.bfloat16),
            active=x.new_empty(route.places, sizes.slots),
            cells=x.new_empty(route.places, sizes.whole_units),
        )
        right, bias = _room(sizes.depth, sizes.slots), x.new_empty(sizes.slots)
        call = WalkCall(
            *sizes.counts(reading), *pointers(*route, x, *parts),
            *pointers(walked.seen, walked.active, walked.cells, right, bias, walked.hidden),
        )  # fmt: skip
        self.library.walk_forward(ctypes.byref(call))
        return walked

    def walk_back(self, reading: Reading, walked: Walked, width: int, parts: Parts) -> WalkGrads:
        """The gradients of what ``walk`` was given.

        Args:
            reading: as it was given.
            walked: what it left, with the gradient of the hidden states in their place.
            width: T.
            parts: as it was given.
        """
        grad, route = walked.hidden.contiguous(), reading.route
        sizes = _Sizes.of(len(grad), width, parts)
        x_grad = grad.new_empty(sizes.rows, width, sizes.inputs)
        slot_grads = grad.new_empty(route.filled, sizes.slots, dtype=torch.bfloat16)
        turned = grad.new_empty(route.filled, sizes.depth, dtype=torch.bfloat16)
        bias_grads = grad.new_empty(route.groups, sizes.slots)
        input_grad, hidden_grad = (torch.empty_like(part) for part in parts[:2])
        right = _room(sizes.depth, sizes.slots)
        call = WalkCall(
            *sizes.counts(reading), *pointers(*route, None, *parts),
            *pointers(walked.seen, walked.active, walked.cells, right, None, None),
            *pointers(grad, slot_grads, turned, bias_grads, x_grad, input_grad, hidden_grad),
        )  # fmt: skip
        self.library.walk_backward(ctypes.byref(call))
        biases = sizes.bias_grads(reading.kind, bias_grads.sum(0))
        return WalkGrads(x_grad, Parts(input_grad, hidden_grad, *biases))

    def drop_out(self, values: Tensor, dropped_levels: int, seed: int) -> Tensor:
        """Values of any shape, float32, or nothing with probability levels / 256.

        The others are scaled up. The same seed leaves out the same places.
        """
        _check_type(torch.float32, values)
        values = values.contiguous()
        found = torch.empty_like(values)
        call = DropoutCall(
            torch.get_num_threads(), values.numel(), dropped_levels, seed,
            *pointers(values, found),
        )  # fmt: skip
        self.library.drop_out(ctypes.byref(call))
        return found

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """(N, I) rows, (O, I) weights and (O,) biases, float32 -> (N, O)."""
        _check_type(torch.float32, x, weight, bias)
        rows, (outputs, inputs) = len(x), weight.shape
        _check_shapes((x, (rows, inputs)), (bias, (outputs,)))
        x, y = x.contiguous(), x.new_empty(rows, outputs)
        right = _room(_filled(inputs, _ROWS), _filled(outputs, _ROWS))
        call = LinearCall(
            torch.get_num_threads(), rows, inputs, outputs, *pointers(x, weight, bias, right, y)
        )
        self.library.linear_forward(ctypes.byref(call))
        return y

    def linear_back(self, x: Tensor, weight: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of ``linear``'s rows and weights from the (N, O) one of what it gave."""
        _check_type(torch.float32, x, weight, grad)
        rows, (outputs, inputs) = len(x), weight.shape
        _check_shapes((x, (rows, inputs)), (grad, (rows, outputs)))
        x, grad = x.contiguous(), grad.contiguous()
        x_grad, weight_grad = torch.empty_like(x), torch.empty_like(weight)
        whole, width = _filled(outputs, _ROWS), _filled(inputs, _ROWS)
        right = _room(whole, width)
        turned, seen = (_room(_filled(rows, _ROWS), size) for size in (whole, width))
        call = LinearCall(
            torch.get_num_threads(), rows, inputs, outputs,
            *pointers(x, weight, None, right, None, grad, turned, seen, x_grad, weight_grad),
        )  # fmt: skip
        self.library.linear_backward(ctypes.byref(call))
        return x_grad, weight_grad

    def cross_entropy(self, given: Operands, *, scale: float = 1.0) -> Losses:
        """The losses of N rows of features over V words, and gradients.

        Args:
            given: float32, and int64 ids below V.
            scale: of the gradients.

        Returns:
            What is exact where no target has ``MOST_NATS`` or more.
        """
        features, weight, bias, targets = given
        _check_type(torch.float32, features, weight, bias)
        _check_type(torch.int64, targets)
        _check_range("targets", targets, 0, len(weight) - 1)
        features, weight = features.contiguous(), weight.contiguous()
        rows, (words, width), threads = len(features), weight.shape, torch.get_num_threads()
        _check_shapes((features, (rows, width)), (bias, (words,)), (targets, (rows,)))
        part = min(_filled(rows, _ROWS), _PART)
        whole_width, whole_words = _filled(width, _ROWS), _filled(words, _CHUNK)
        room = (
            _room(_filled(rows, _ROWS), _spaced(width, _ROWS)),
            torch.empty(_filled(rows, _ROWS) + whole_words),
            _room(part, whole_width),
            _room(part, whole_words),
            _room(part),
            torch.empty(whole_words // _CHUNK, part),
            torch.empty(threads, part, whole_width),
        )
        found = Losses(
            nats=torch.empty(rows),
            target_scores=torch.empty(rows),
            features_grad=torch.empty_like(features),
            weight_grad=torch.empty_like(weight) if rows else torch.zeros_like(weight),
            bias_grad=torch.empty(words) if rows else torch.zeros(words),
        )
        call = WordsCall(
            threads, rows, width, words, part, *pointers(features, weight, bias, targets, *room),
            *pointers(found.target_scores, found.nats, *found[2:]), scale,
        )  # fmt: skip
        if rows:
            self.library.cross_entropy(ctypes.byref(call))
        return found


class _Sizes(NamedTuple):
    """Of a layer and a batch; in the kernels inputs and units are filled up to whole tiles."""

    rows: int
    width: int
    inputs: int
    units: int

    @classmethod
    def of(cls, rows: int, width: int, parts: Parts) -> "_Sizes":
        """Of that many rows with room for so many steps."""
        return cls(rows, width, parts.input_weight.shape[1], parts.hidden_weight.shape[1])

    @property
    def whole_units(self) -> int:
        return _filled(self.units, _ROWS)

    @property
    def depth(self) -> int:
        return _filled(self.inputs, _ROWS) + self.whole_units

    @property
    def slots(self) -> int:
        return _SLOTS * self.whole_units

    def counts(self, reading: Reading) -> tuple[int, ...]:
        kind, route, *manner = reading
        return (torch.get_num_threads(), _KINDS[kind], *self, route.groups, *manner)

    def bias_grads(self, kind: CellKind, slots: Tensor) -> tuple[Tensor, Tensor]:
        """Those of the input's and of the state's bias, from (slots,) sums over all steps."""
        blocks = slots.view(-1, _SLOTS, _ROWS // 2)
        each = blocks.transpose(0, 1).flatten(1)[:, : self.units]
        if kind == "lstm":
            return each.flatten(), each.flatten()
        return each[:3].flatten(), each[[0, 1, 3]].flatten()


def _room(*shape: int) -> Tensor:
    """For as many narrow numbers."""
    return torch.empty(shape, dtype=torch.bfloat16)


def _filled(count: int, multiple: int) -> int:
    return -(-count // multiple) * multiple


def _spaced(width: int, line: int) -> int:
    """``matrices::spaced``."""
    return (_filled(width, line) // line | 1) * line


def _check_type(kind: torch.dtype, *tensors: Tensor) -> None:
    """Raise TypeError where a tensor is not what it would be read as, perhaps beyond its end."""
    for tensor in tensors:
        if tensor.dtype != kind or tensor.device.type != "cpu":
            raise TypeError(
                f"the kernels read {kind} on a cpu, not {tensor.dtype} on {tensor.device.type}"
            )


def _check_shapes(*given: tuple[Tensor, tuple[int, ...]]) -> None:
    """Raise ValueError where a tensor has another shape than it would be read with."""
    for tensor, shape in given:
        if tensor.shape != shape:
            raise ValueError(f"the kernels read a shape of {shape}, not {tuple(tensor.shape)}")


def _check_range(name: str, numbers: Tensor, least: int, most: int) -> None:
    """Raise IndexError where a number leads out of a table."""
    if len(numbers) and (numbers.min() < least or numbers.max() > most):
        raise IndexError(f"{name} must be {least} to {most}")


def find_kernels() -> Kernels | None:
    """The kernels, compiled if need be; None where they cannot run."""
    found = _look_for_kernels()
    return None if isinstance(found, str) else found


def explain_kernels() -> str:
    """What the kernels are compiled for, or why torch stands in for them."""
    found = _look_for_kernels()
    return f"torch, {found}" if isinstance(found, str) else "compiled for AMX"


_CALLS: dict[str, type[ctypes.Structure]] = {
    "walk_forward": WalkCall,
    "walk_backward": WalkCall,
    "linear_forward": LinearCall,
    "linear_backward": LinearCall,
    "cross_entropy": WordsCall,
    "drop_out": DropoutCall,
}


@functools.cache
def _look_for_kernels() -> Kernels | str:
    is_able = torch.cpu._is_amx_tile_supported() and torch.cpu._is_avx512_bf16_supported()
    if not is_able:
        return "kernels need AMX"
    try:
        found = opened(SOURCE, _CALLS)
    except (BuildError, OSError) as error:
        return f"which takes two to three times as long as compiled kernels: {error}"
    if not found.allow_tiles():
        return "kernels need AMX, which the system does not let programs use"
    return Kernels(found)
