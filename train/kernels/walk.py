"""The compiled walk of a recurrent layer, as a step of autograd."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dialog_service.models.recurrence import CellKind, Parts, Recurrence
from train.kernels.kernels import Kernels, Route, Walked, find_kernels, route


@dataclass(frozen=True, slots=True)
class CompiledWalk:
    """A ``Walk`` in bfloat16, states and sums in float32."""

    kernels: Kernels

    def __call__(self, layer: Recurrence, inputs: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, I) and (B,) lengths -> (B, T, H) float32, zeros at padding."""
        manner = _Manner(self.kernels, layer.kind, route(lengths))
        hidden: Tensor = _Walk.apply(  # type: ignore[no-untyped-call]
            manner, inputs.float(), *layer.parts
        )
        return hidden


class _Manner(NamedTuple):
    """What of a walk has no gradient."""

    kernels: Kernels
    kind: CellKind
    route: Route


class _Walk(torch.autograd.Function):
    """``Kernels.walk`` and its way back."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx, manner: _Manner, inputs: Tensor, *parts: Tensor
    ) -> Tensor:
        kernels, kind, way = manner
        walked = kernels.walk(kind, inputs, way, Parts(*parts))
        ctx.save_for_backward(*parts, *walked[1:])
        ctx.manner = manner  # type: ignore[attr-defined]
        return walked.hidden

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, grad: Tensor
    ) -> tuple[Tensor | None, ...]:
        kernels, kind, way = ctx.manner  # type: ignore[attr-defined]
        *parts, seen, active, cells = ctx.saved_tensors  # type: ignore[attr-defined]
        walked = Walked(grad, seen, active, cells)
        grads = kernels.walk_back(kind, walked, way, Parts(*parts), grad)
        return None, grads.inputs, *grads.parts


def hasten(module: nn.Module) -> bool:
    """Let every recurrent layer of a module walk so under autocast; whether this machine can."""
    kernels = find_kernels()
    if kernels is None:
        return False
    for layer in module.modules():
        if isinstance(layer, Recurrence):
            layer.walk = CompiledWalk(kernels)
    return True
