"""The composition: context -> z -> response; alone in reading a ModelConfig.

It knows nothing of losses: what only training needs belongs to an objective term.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dialog_service.models.bridge import build_bridge
from dialog_service.models.config import ModelConfig
from dialog_service.models.decoder import build_decoder, real_places
from dialog_service.models.distributions import DiagonalGaussian
from dialog_service.models.encoder import BidirectionalEncoder, build_encoder
from dialog_service.models.matcher import Matcher
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

    @property
    def real(self) -> Tensor:
        """(N,) places of the responses' real tokens, row after row, among all (B T)."""
        return real_places(self.target_lengths, self.targets.shape[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Inference:
    """What a batch says of z.

    ``context`` (B, C) is the context's state, ``seen`` (B, P) what the posterior was given: the
    context's state, behind the response's where it sees that too. ``prior`` is None where nothing
    is asked of z.
    """

    context: Tensor
    seen: Tensor
    posterior: Belief
    prior: DiagonalGaussian | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOutput:
    """What one pass yields: beliefs about z, one draw z (B, Z), features (N, O)."""

    inference: Inference
    z: Tensor
    features: Tensor

    @property
    def posterior(self) -> Belief:
        """q, over (B, Z)."""
        return self.inference.posterior

    @property
    def prior(self) -> DiagonalGaussian | None:
        """p(z), over (B, Z)."""
        return self.inference.prior


class ReplyCodes(NamedTuple):
    """Where the z of each context's replies comes from, float32, and its share of the signal.

    (B, Z) loc and scale; (B, G') what the context adds to the signal beside z.
    """

    loc: Tensor
    scale: Tensor
    share: Tensor


class LatentSeq2Seq(nn.Module):
    """A latent-variable encoder-decoder put together from its config."""

    def __init__(self, config: ModelConfig) -> None:
        """Build every part; parameters start from torch's global random state."""
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.embedding_dim, padding_idx=PAD_ID)
        std = config.embedding_std or config.embedding_dim**-0.5
        nn.init.normal_(self.embedding.weight, std=std)
        self.encoder = build_encoder(config.encoder, config.embedding_dim)
        context_size = seen_size = self.encoder.output_size
        self.response_encoder: BidirectionalEncoder | None = None
        if config.posterior_sees_response:
            self.response_encoder = build_encoder(config.encoder, config.embedding_dim)
            seen_size += self.response_encoder.output_size
        self.posterior = build_posterior(config.posterior, seen_size)
        self.prior = build_prior(config.prior, context_size, config.latent_dim)
        self.bridge = build_bridge(
            config.bridge,
            context_size=context_size,
            latent_dim=config.latent_dim,
            embedding_dim=config.embedding_dim,
        )
        self.decoder = build_decoder(config.decoder, self.embedding, self.bridge)
        self.matcher: Matcher | None = None
        if config.matcher is not None:
            self.matcher = Matcher(config.matcher, context_size + config.embedding_dim)

    @property
    def is_deterministic(self) -> bool:
        """Whether a context has one code, so that replies differ by token sampling alone."""
        return self.response_encoder is None and self.posterior.is_deterministic

    def infer(self, batch: Batch) -> Inference:
        """Beliefs about the z of each of B examples."""
        context = self.encoder(self.embedding(batch.context), batch.context_lengths)  # (B, C)
        seen = context
        if self.response_encoder is not None:
            embedded = self.embedding(batch.targets)
            response = self.response_encoder(embedded, batch.target_lengths)
            seen = torch.cat([response, context], dim=1)  # (B, P)
        return Inference(
            context=context,
            seen=seen,
            posterior=self.posterior(seen),
            prior=self.prior(context),
        )

    def reply_belief(self, context: Tensor) -> Belief:
        """Where a reply's z comes from: the posterior, or the prior if that sees the response.

        Args:
            context: (B, C) states of contexts.
        """
        source = self.posterior if self.response_encoder is None else self.prior
        belief: Belief = source(context)
        return belief

    def features(self, batch: Batch, z: Tensor, context: Tensor) -> Tensor:
        """What the vocabulary layer sees of B responses' N real tokens under teacher forcing.

        Args:
            batch: B examples.
            z: (B, Z).
            context: (B, C) states of their contexts.

        Returns:
            (N, O), row after row.
        """
        signal = self.bridge(z, self.bridge.share(context))
        return self.decoder.features(batch.inputs, batch.target_lengths, signal)

    def forward(self, batch: Batch) -> ModelOutput:
        """One training pass with one draw of z per example."""
        inference = self.infer(batch)
        z = inference.posterior.rsample()
        return ModelOutput(
            inference=inference, z=z, features=self.features(batch, z, inference.context)
        )

    def reply_codes(self, context: Tensor) -> ReplyCodes:
        """What serving needs of (B, C) states of contexts."""
        belief = self.reply_belief(context)
        share = self.bridge.share(context)
        return ReplyCodes(belief.loc.float(), belief.scale.float(), share.float())


def build_model(config: ModelConfig) -> LatentSeq2Seq:
    """The model of a config, in training mode."""
    return LatentSeq2Seq(config)
