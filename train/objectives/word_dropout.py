"""Words withheld from the decoder, so that it has to ask z for them."""

import torch
from torch import Tensor, nn

from dialog_service.models.seq2seq import PAD_ID
from dialog_service.vocabulary import BOS, UNK
from train.config import WordDropoutConfig
from train.objectives.schedules import build_schedule


class WordDropout(nn.Module):
    """Replaces decoder inputs by the unknown word at random (Bowman et al. 2016).

    WAE for sentence generation (2018), section 2.2, names the unknown word; its code writes id 0,
    which is padding here and there. Begin-of-sequence stays.
    """

    def __init__(self, config: WordDropoutConfig) -> None:
        """Keep the highest rate and how it is reached."""
        super().__init__()
        self.rate = config.rate
        self.schedule = build_schedule(config.schedule)

    def forward(self, inputs: Tensor, progress: float) -> Tensor:
        """(B, T) ids -> the same with some words unknown; unchanged in evaluation.

        Args:
            inputs: decoder inputs, begin-of-sequence first.
            progress: steps done / steps planned.
        """
        if not self.training or not self.rate:
            return inputs
        withheld = torch.rand(inputs.shape, device=inputs.device) < self.rate * self.schedule(
            progress
        )
        return inputs.masked_fill(withheld & (inputs != BOS) & (inputs != PAD_ID), UNK)
