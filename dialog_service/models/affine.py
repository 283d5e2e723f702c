"""A linear layer over rows."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

Affine = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(N, I) rows, (O, I) weights and (O,) biases -> (N, O)."""


class RowsLinear(nn.Linear):
    """``nn.Linear`` over (N, I) rows.

    ``affine`` stands in for it under autocast, where training knows a faster way.
    """

    affine: Affine | None = None

    def forward(self, input: Tensor) -> Tensor:
        """(N, I) -> (N, O)."""
        if self.affine is not None and torch.is_autocast_enabled(input.device.type):
            return self.affine(input, self.weight, self.bias)
        return super().forward(input)
