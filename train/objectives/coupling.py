"""The coupled deterministic companion: Coupled-VAE (2020), section 4 and appendix I.2."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from dialog_service.models.affine import RowsLinear
from dialog_service.models.bridge import build_bridge
from dialog_service.models.config import ModelConfig
from dialog_service.models.decoder import build_decoder
from dialog_service.models.posterior import LinearGaussian
from dialog_service.models.seq2seq import Batch, LatentSeq2Seq, ModelOutput
from train.objectives.mmd import KERNEL_SCALES
from train.objectives.reconstruction import reconstruction


def rational_quadratic(one: Tensor, other: Tensor, base: float) -> Tensor:
    """- sum over scales s of C / (C + |x - y|^2), C = s * base.

    Coupled-VAE (2020), Equation 5; C = 2 Z is that of its published code.

    Args:
        one: (B, D).
        other: (B, D).
        base: C of the middle scale.

    Returns:
        (B,) in [-7, 0).
    """
    squared = (one - other).square().sum(1)
    return -torch.stack([s * base / (s * base + squared) for s in KERNEL_SCALES]).sum(0)


def squared_euclidean(one: Tensor, other: Tensor) -> Tensor:
    """|x - y|^2 of (B, D) rows: (B,)."""
    return (one - other).square().sum(1)


class CompanionLosses(NamedTuple):
    """The companion's reconstruction, () nats per example, and both maps' values, (B, D) each."""

    reconstruction: Tensor
    mapped: Tensor
    companion_mapped: Tensor


class Companion(nn.Module):
    """A posterior mean, a map of the code and a decoder of its own; all else is the model's.

    Shared with the model are the embeddings, the encoders and the context's share of the signal.
    """

    def __init__(self, model: LatentSeq2Seq, config: ModelConfig) -> None:
        """Build the parts, of the model's shapes, with parameters of their own."""
        super().__init__()
        assert isinstance(model.posterior, LinearGaussian)  # RunConfig refuses others
        self.loc = RowsLinear(model.posterior.loc.in_features, config.latent_dim)
        bridge = build_bridge(
            config.bridge,
            context_size=model.encoder.output_size,
            latent_dim=config.latent_dim,
            embedding_dim=config.embedding_dim,
        )
        assert bridge.code is not None  # there is a z
        self.code = bridge.code
        self.decoder = build_decoder(config.decoder, model.embedding, bridge)

    def forward(self, model: LatentSeq2Seq, batch: Batch, output: ModelOutput) -> CompanionLosses:
        """Reconstruct the batch from the companion's own mean."""
        inference = output.inference
        assert model.bridge.code is not None
        mapped: Tensor = model.bridge.code(output.z)
        companion_mapped: Tensor = self.code(self.loc(inference.seen))
        signal = companion_mapped
        share = model.bridge.share(inference.context)
        if share.shape[1]:
            signal = signal + share
        features = self.decoder.features(batch.inputs, batch.target_lengths, signal)
        return CompanionLosses(
            reconstruction=reconstruction(self.decoder, batch, features),
            mapped=mapped.float(),
            companion_mapped=companion_mapped.float(),
        )
