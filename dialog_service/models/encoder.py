"""From the ids of a text to one vector."""

import torch
from torch import Tensor, nn

from dialog_service.models.config import EncoderConfig
from dialog_service.models.dropout import Dropout
from dialog_service.models.recurrence import build_recurrence


class BidirectionalEncoder(nn.Module):
    """Two recurrences, one in each direction, and their final hidden states side by side.

    Two one-directional runs, the second over each row reversed within its length, and the states
    gathered at length - 1.
    """

    def __init__(self, config: EncoderConfig, embedding_dim: int) -> None:
        """Build both directions; dropout applies to the inputs."""
        super().__init__()
        self.forwards = build_recurrence(config.kind, embedding_dim, config.hidden_size)
        self.backwards = build_recurrence(config.kind, embedding_dim, config.hidden_size)
        self.dropout = Dropout(config.dropout)
        self.output_size = 2 * config.hidden_size

    def forward(self, embedded: Tensor, lengths: Tensor) -> Tensor:
        """Encode whole texts.

        Args:
            embedded: (B, S, E) embedded ids, anything past a row's length.
            lengths: (B,) tokens per row, >= 1.

        Returns:
            (B, 2H) final states.
        """
        embedded = self.dropout(embedded)
        last = (lengths - 1)[:, None, None].expand(-1, 1, self.forwards.hidden_size)
        ahead = self.forwards.sequence(embedded, lengths).gather(1, last)
        flipped = _reversed_rows(embedded, lengths)
        back = self.backwards.sequence(flipped, lengths).gather(1, last)
        return torch.cat([ahead, back], dim=-1).squeeze(1)  # (B, 2H)


def _reversed_rows(embedded: Tensor, lengths: Tensor) -> Tensor:
    """(B, S, E) with each row reversed within its length, its padding left at the end."""
    positions = torch.arange(embedded.shape[1], device=embedded.device)  # (S,)
    mirrored = lengths[:, None] - 1 - positions  # (B, S)
    index = torch.where(mirrored >= 0, mirrored, positions)
    return embedded.gather(1, index[:, :, None].expand_as(embedded))


def build_encoder(config: EncoderConfig, embedding_dim: int) -> BidirectionalEncoder:
    """The encoder of a config; ``build_recurrence`` reads its kind."""
    return BidirectionalEncoder(config, embedding_dim)
