"""Compiled dropout, as a step of autograd."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from train.kernels.kernels import Kernels


@dataclass(frozen=True, slots=True)
class CompiledDropout:
    """A ``Drop``: its seed is one draw of torch's generator."""

    kernels: Kernels

    def __call__(self, values: Tensor, dropped_levels: int) -> Tensor:
        """Values of any shape -> the same, float32, some of them nothing, the others scaled up."""
        seed = int(torch.empty((), dtype=torch.int64).random_(-(2**63), None))
        manner = _Manner(self.kernels, dropped_levels, seed)
        dropped: Tensor = _Dropout.apply(  # type: ignore[no-untyped-call]
            manner, values.float()
        )
        return dropped


class _Manner(NamedTuple):
    """What of a dropout has no gradient."""

    kernels: Kernels
    dropped_levels: int
    seed: int


class _Dropout(torch.autograd.Function):
    """A linear map that is its own way back."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx, manner: _Manner, values: Tensor
    ) -> Tensor:
        ctx.manner = manner  # type: ignore[attr-defined]
        kernels, levels, seed = manner
        return kernels.drop_out(values, levels, seed)

    @staticmethod
    @once_differentiable
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple[None, Tensor]:
        kernels, levels, seed = ctx.manner  # type: ignore[attr-defined]
        return None, kernels.drop_out(grad, levels, seed)
