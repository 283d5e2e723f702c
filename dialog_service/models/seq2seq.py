"""The composition: context -> posterior over z -> response; alone in reading a ModelConfig.

It knows nothing of losses: what only training needs belongs to an objective term.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dialog_service.models.bridge import build_bridge
from dialog_service.models.config import ModelConfig
from dialog_service.models.decoder import build_decoder
from dialog_service.models.distributions import DiagonalGaussian
from dialog_service.models.encoder import build_encoder
from dialog_service.models.posterior import Belief, build_posterior
from dialog_service.models.prior import build_prior

PAD_ID = 0


class Batch(NamedTuple):
    """Padded ids: (B, S) contexts, (B, T) decoder inputs and (B, T) targets, with (B,) lengths.

    ``targets`` ends with end-of-sequence; ``inputs`` is the same shifted right behind
    begin-of-sequence. Padding is id 0 and is counted in no loss.
    """

    context: Tensor
    context_lengths: Tensor
    inputs: Tensor
    targets: Tensor
    target_lengths: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOutput:
    """What one pass yields: beliefs about z, one draw z (B, Z), features (B, T, O)."""

    posterior: Belief
    prior: DiagonalGaussian | None
    z: Tensor
    features: Tensor


class LatentSeq2Seq(nn.Module):
    """A latent-variable encoder-decoder put together from its config."""

    def __init__(self, config: ModelConfig) -> None:
        """Build every part; parameters start from torch's global random state."""
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.embedding_dim, padding_idx=PAD_ID)
        nn.init.normal_(self.embedding.weight, std=config.embedding_dim**-0.5)
        self.encoder = build_encoder(config.encoder, config.embedding_dim)
        self.posterior = build_posterior(config.posterior, self.encoder.output_size)
        self.prior = build_prior(config.prior)
        bridge = build_bridge(config.bridge, config.embedding_dim, config.latent_dim)
        self.decoder = build_decoder(config.decoder, self.embedding, bridge)

    @property
    def is_deterministic(self) -> bool:
        """Whether a context has one code, so that replies differ by token sampling alone."""
        return self.posterior.is_deterministic

    def infer(self, context: Tensor, lengths: Tensor) -> Belief:
        """q(z | context) under teacher-forced shapes: (B, S) ids and (B,) lengths -> (B, Z)."""
        belief: Belief = self.posterior(self.encoder(self.embedding(context), lengths))
        return belief

    def forward(self, batch: Batch) -> ModelOutput:
        """One training pass with one draw of z per example."""
        posterior = self.infer(batch.context, batch.context_lengths)
        z = posterior.rsample()
        features = self.decoder.features(batch.inputs, batch.target_lengths, z)
        return ModelOutput(posterior=posterior, prior=self.prior(z), z=z, features=features)

    @torch.inference_mode()
    def infer_stepwise(self, context: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Loc and scale of the reply code for serving, each (B, Z) float32.

        Equal to ``infer`` in evaluation; a row's bits do not depend on the other rows' lengths.
        """
        encoded = self.encoder.encode_stepwise(self.embedding(context), lengths)
        belief: Belief = self.posterior(encoded.to(self.posterior.loc.weight.dtype))
        return belief.loc.float(), belief.scale.float()


def build_model(config: ModelConfig) -> LatentSeq2Seq:
    """The model of a config, in training mode."""
    return LatentSeq2Seq(config)
