"""The losses of an epoch, summed where they are computed: reading them each step would wait."""

import math

import torch
from torch import Tensor

from dialog_service.errors import ConfigError
from train.objectives.objective import Losses


class LossSums:
    """Sums since the epoch's first step; float32, so that they survive a save to the last bit."""

    def __init__(self) -> None:
        """Nothing summed."""
        self._sums: dict[str, Tensor] = {}

    def add(self, losses: Losses, gradient_norm: Tensor) -> None:
        """Add one step: the loss and its parts, in nats per example, and the unclipped norm."""
        parts = {
            "loss": losses.total,
            "nll": losses.reconstruction,
            **losses.terms,
            "gradient_norm": gradient_norm,
        }
        for name, value in parts.items():
            value = value.detach().float()
            self._sums[name] = self._sums[name] + value if name in self._sums else value

    def values(self) -> dict[str, float]:
        """The sums, read from the device.

        Raises:
            ConfigError: one is no longer finite, so nothing after it can be used.
        """
        values = {name: float(value) for name, value in self._sums.items()}
        broken = [name for name, value in values.items() if not math.isfinite(value)]
        if broken:
            raise ConfigError(
                f"training diverged: {', '.join(broken)} not finite; "
                "lower optimisation.learning_rate or optimisation.clip_norm"
            )
        return values

    def restore(self, values: dict[str, float], device: torch.device) -> None:
        """Continue from what ``values`` gave."""
        self._sums = {
            name: torch.tensor(value, dtype=torch.float32, device=device)
            for name, value in values.items()
        }
