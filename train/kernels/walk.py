"""The compiled walk of a recurrent layer, as a step of autograd."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from dialog_service.models.recurrence import Parts, Recurrence
from train.kernels.kernels import Kernels, Reading, Walked, route


@dataclass(frozen=True, slots=True)
class CompiledWalk:
    """A ``Walk`` in bfloat16, states and sums in float32."""

    kernels: Kernels

    def sequence(self, layer: Recurrence, inputs: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, I) and (B,) lengths -> (B, T, H) float32, zeros at padding."""
        return self._walked(layer, inputs, Reading(layer.kind, route(lengths)))

    def last(
        self, layer: Recurrence, inputs: Tensor, lengths: Tensor, *, is_reversed: bool
    ) -> Tensor:
        """(B, T, I) and (B,) lengths -> (B, H) float32."""
        reading = Reading(layer.kind, route(lengths), is_reversed=is_reversed, has_last=True)
        return self._walked(layer, inputs, reading)

    def _walked(self, layer: Recurrence, inputs: Tensor, reading: Reading) -> Tensor:
        manner = _Manner(self.kernels, reading, inputs.shape[1])
        hidden: Tensor = _Walk.apply(  # type: ignore[no-untyped-call]
            manner, inputs.float(), *layer.parts
        )
        return hidden


class _Manner(NamedTuple):
    """What of a walk has no gradient; ``width`` is T."""

    kernels: Kernels
    reading: Reading
    width: int


class _Walk(torch.autograd.Function):
    """``Kernels.walk`` and its way back."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx, manner: _Manner, inputs: Tensor, *parts: Tensor
    ) -> Tensor:
        walked = manner.kernels.walk(manner.reading, inputs, Parts(*parts))
        ctx.save_for_backward(*parts, *walked[1:])
        ctx.manner = manner  # type: ignore[attr-defined]
        return walked.hidden

    @staticmethod
    @once_differentiable
    def backward(
        ctx: torch.autograd.function.FunctionCtx, grad: Tensor
    ) -> tuple[Tensor | None, ...]:
        kernels, reading, width = ctx.manner  # type: ignore[attr-defined]
        *parts, seen, active, cells = ctx.saved_tensors  # type: ignore[attr-defined]
        walked = Walked(grad, seen, active, cells)
        grads = kernels.walk_back(reading, walked, width, Parts(*parts))
        return None, grads.inputs, *grads.parts
