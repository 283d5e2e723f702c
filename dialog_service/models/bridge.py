"""How z reaches the decoder."""

from typing import Literal

import torch
from torch import Tensor, nn

from dialog_service.models.config import BridgeConfig


class EveryStepBridge(nn.Module):
    """Each decoder input is [embedding ; z]: the only path from context to reply."""

    def __init__(self, embedding_dim: int, latent_dim: int) -> None:
        """Know the width of a decoder input, E + Z."""
        super().__init__()
        self.input_size = embedding_dim + latent_dim

    def forward(self, embedded: Tensor, z: Tensor) -> Tensor:
        """Join z to every step.

        Args:
            embedded: (B, T, E) embedded response inputs, or (B, E) for one step.
            z: (B, Z).

        Returns:
            (B, T, E + Z), or (B, E + Z).
        """
        if embedded.dim() == 3:
            z = z[:, None].expand(-1, embedded.shape[1], -1)
        return torch.cat([embedded, z.to(embedded.dtype)], dim=-1)


def build_bridge(config: BridgeConfig, embedding_dim: int, latent_dim: int) -> EveryStepBridge:
    """The bridge of a config: the one place that reads ``bridge.kind``."""
    kind: Literal["every_step"] = config.kind
    match kind:
        case "every_step":
            return EveryStepBridge(embedding_dim, latent_dim)
