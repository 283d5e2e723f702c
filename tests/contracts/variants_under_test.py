"""Every variant at a size that trains in a second, and a batch for it."""

from dataclasses import replace

import torch
from torch import Tensor

from dialog_service.models.seq2seq import Batch
from train.config import OptimisationConfig, RunConfig
from train.presets import SMALL, Sizes
from train.variants import VARIANTS

SIZES = Sizes(
    embedding_dim=12,
    encoder_hidden_size=10,
    decoder_hidden_size=14,
    latent_dim=6,
    dropout=0.0,
    output_dropout=0.0,
    vocabulary_mode="unigram",
    vocabulary_size=40,
    max_context_tokens=9,
    max_response_tokens=8,
    optimisation=OptimisationConfig(epochs=2, batch_size=4),
)
TINY = replace(SMALL, name="tiny", wasserstein=SIZES, conditional=SIZES, contextual=SIZES)


def tiny_config(variant: str) -> RunConfig:
    """The resolved tiny config of a variant."""
    return VARIANTS[variant](TINY).resolved(
        vocab_size=40, mean_target_tokens=5.0, planned_steps=100
    )


def tiny_batch(rows: int = 5, *, seed: int = 0) -> Batch:
    """(rows,) random pairs of differing lengths, one of each kind at its longest."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 9, (rows,), generator=generator)
    response_lengths = torch.randint(1, 8, (rows,), generator=generator)
    lengths[0], response_lengths[-1] = 9, 8
    context = torch.randint(4, 40, (rows, 9), generator=generator)
    targets = torch.randint(4, 40, (rows, 8), generator=generator)
    steps = torch.arange(9)
    context[steps >= lengths[:, None]] = 0
    targets[steps[:8] >= response_lengths[:, None]] = 0
    targets[torch.arange(rows), response_lengths - 1] = 3
    first = torch.full((rows, 1), 2)
    return Batch(
        context=context,
        context_lengths=lengths,
        inputs=torch.cat([first, targets[:, :-1]], dim=1),
        targets=targets,
        target_lengths=response_lengths,
    )


def padded(features: Tensor, batch: Batch) -> Tensor:
    """(N, O) of a batch's real tokens -> (B, T, O), zeros at padding."""
    places = features.new_zeros(batch.targets.numel(), features.shape[1])
    places[batch.real] = features
    return places.view(*batch.targets.shape, -1)
