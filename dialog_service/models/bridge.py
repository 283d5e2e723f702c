"""From z and the context to the signal that the decoder is given."""

import torch
from torch import Tensor, nn

from dialog_service.models.affine import RowsLinear
from dialog_service.models.config import BridgeConfig


class EveryStepBridge(nn.Module):
    """The signal is z: the only path from context to reply."""

    is_first_word = False

    def __init__(self, latent_dim: int) -> None:
        """Know the signal's width, Z."""
        super().__init__()
        self.signal_size = latent_dim
        self.code = nn.Identity()

    def share(self, context: Tensor) -> Tensor:
        """The context's part of the signal, (B, 0): there is none."""
        return context[:, :0]

    def forward(self, z: Tensor, share: Tensor) -> Tensor:
        """(B, Z) codes and (B, 0) shares -> (B, Z) signals."""
        signal: Tensor = self.code(z)
        return signal


class FirstAndEveryStepBridge(nn.Module):
    """u = h + W e_c with h = MLP(z), of an embedding's width; u also stands for the first word.

    Coupled-VAE (2020), appendices C and I.1; without z, u = W e_c.
    """

    is_first_word = True

    def __init__(self, context_size: int, latent_dim: int, embedding_dim: int) -> None:
        """Build the map of the code, Z -> E -> E, and that of the context, C -> E."""
        super().__init__()
        self.signal_size = embedding_dim
        self.context = RowsLinear(context_size, embedding_dim)
        self.code: nn.Module | None = None
        if latent_dim:
            self.code = nn.Sequential(
                RowsLinear(latent_dim, embedding_dim),
                nn.ReLU(),
                RowsLinear(embedding_dim, embedding_dim),
            )

    def share(self, context: Tensor) -> Tensor:
        """The context's part of the signal: (B, C) states -> (B, E)."""
        share: Tensor = self.context(context)
        return share

    def forward(self, z: Tensor, share: Tensor) -> Tensor:
        """(B, Z) codes and (B, E) shares -> (B, E) signals."""
        return share if self.code is None else self.code(z) + share


Bridge = EveryStepBridge | FirstAndEveryStepBridge


def build_bridge(
    config: BridgeConfig, *, context_size: int, latent_dim: int, embedding_dim: int
) -> Bridge:
    """The bridge of a config: the one place that reads ``bridge.kind``."""
    match config.kind:
        case "every_step":
            return EveryStepBridge(latent_dim)
        case "first_and_every_step":
            return FirstAndEveryStepBridge(context_size, latent_dim, embedding_dim)


def joined(embedded: Tensor, signal: Tensor) -> Tensor:
    """[embedding ; signal] at every step.

    Args:
        embedded: (B, T, E) embedded response inputs, or (B, E) for one step.
        signal: (B, G).

    Returns:
        (B, T, E + G), or (B, E + G).
    """
    if embedded.dim() == 3:
        signal = signal[:, None].expand(-1, embedded.shape[1], -1)
    return torch.cat([embedded, signal.to(embedded.dtype)], dim=-1)
