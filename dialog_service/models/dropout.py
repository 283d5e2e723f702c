"""Dropout whose masks cost an eighth of the library's on a CPU, where drawing them is serial."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

_LEVELS = 256

Drop = Callable[[Tensor, int], Tensor]
"""Values and how many of 256 levels are dropped -> the values left, scaled up."""


class Dropout(nn.Module):
    """Zeroes values with probability ``rate``, to the nearest 1/256, scaling the others up.

    A mask takes one random byte a value, eight from each draw of the generator. ``drop`` stands in
    for that under autocast, where training knows a faster way.
    """

    drop: Drop | None = None

    def __init__(self, rate: float) -> None:
        """Round the rate to what a byte can say; below one, as some values must stay."""
        super().__init__()
        self.dropped_levels = min(round(rate * _LEVELS), _LEVELS - 1)

    def forward(self, values: Tensor) -> Tensor:
        """The values themselves in evaluation; any shape, any floating type."""
        if not self.training or self.dropped_levels == 0:
            return values
        if self.drop is not None and torch.is_autocast_enabled(values.device.type):
            return self.drop(values, self.dropped_levels)
        count = values.numel()
        words = torch.empty(-(-count // 8), dtype=torch.int64, device=values.device)
        words.random_(-(2**63), None)
        levels = words.view(torch.uint8)[:count].view(values.shape)
        scale = _LEVELS / (_LEVELS - self.dropped_levels)
        return values * (levels >= self.dropped_levels) * scale
