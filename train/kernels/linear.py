"""A compiled linear layer, as a step of autograd."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from train.kernels.kernels import Kernels


@dataclass(frozen=True, slots=True)
class CompiledAffine:
    """An ``Affine`` in bfloat16, sums in float32."""

    kernels: Kernels

    def __call__(self, rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """(N, I) rows -> (N, O) float32."""
        found: Tensor = _Affine.apply(  # type: ignore[no-untyped-call]
            self.kernels, rows.float(), weight, bias
        )
        return found


class _Affine(torch.autograd.Function):
    """``Kernels.linear`` and its way back."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        kernels: Kernels,
        rows: Tensor,
        weight: Tensor,
        bias: Tensor,
    ) -> Tensor:
        ctx.kernels = kernels  # type: ignore[attr-defined]
        ctx.save_for_backward(rows, weight)
        return kernels.linear(rows, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(
        ctx: torch.autograd.function.FunctionCtx, grad: Tensor
    ) -> tuple[None, Tensor, Tensor, Tensor]:
        rows, weight = ctx.saved_tensors  # type: ignore[attr-defined]
        kernels: Kernels = ctx.kernels  # type: ignore[attr-defined]
        return None, *kernels.linear_back(rows, weight, grad), grad.sum(0)
