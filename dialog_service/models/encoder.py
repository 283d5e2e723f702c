"""From the ids of a text to one vector."""

import torch
from torch import Tensor, nn

from dialog_service.models.config import EncoderConfig
from dialog_service.models.dropout import Dropout
from dialog_service.models.recurrence import build_recurrence


class BidirectionalEncoder(nn.Module):
    """Two recurrences, one in each direction, and their final hidden states side by side.

    Two one-directional runs, the second over each row from its end.
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
        ahead = self.forwards.last(embedded, lengths)
        back = self.backwards.last(embedded, lengths, is_reversed=True)
        return torch.cat([ahead, back], dim=1)  # (B, 2H)


def build_encoder(config: EncoderConfig, embedding_dim: int) -> BidirectionalEncoder:
    """The encoder of a config; ``build_recurrence`` reads its kind."""
    return BidirectionalEncoder(config, embedding_dim)
