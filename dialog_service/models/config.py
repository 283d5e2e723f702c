"""What a model is: one small tagged config per choice on each axis. Knows no tensors.

A variant is a combination of these rows, never a class of its own. Sizes have no defaults here,
they are the presets' business; what a paper fixes has.
"""

import math
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

Probability = Annotated[float, Field(ge=0.0, lt=1.0)]


class Config(BaseModel):
    """Frozen; an unknown key is an error that names its path."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class LstmEncoder(Config):
    """Bidirectional LSTM over a text, ``hidden_size`` units per direction."""

    kind: Literal["lstm"] = "lstm"
    hidden_size: PositiveInt
    dropout: Probability = 0.2


class GruEncoder(Config):
    """Bidirectional GRU over a text, ``hidden_size`` units per direction."""

    kind: Literal["gru"] = "gru"
    hidden_size: PositiveInt
    dropout: Probability = 0.2


class NoPosterior(Config):
    """No z at all: the context reaches the decoder through the bridge alone (GRU)."""

    kind: Literal["none"] = "none"

    @property
    def latent_dim(self) -> int:
        """Z is 0."""
        return 0


class DiracPosterior(Config):
    """z is a linear map of the encoder's state (DED, WED-D).

    ``initial_deviation`` is about that of z over contexts at the start; None leaves the map as
    torch makes it, which is about 0.1.
    """

    kind: Literal["dirac"] = "dirac"
    latent_dim: PositiveInt
    initial_deviation: float | None = Field(default=None, gt=0.0)


class _GaussianScale(Config):
    """A learned log scale: where it starts, and the clamp that keeps ``exp`` finite."""

    initial_scale: float = Field(default=1.0, gt=0.0, le=1.0)
    min_log_scale: float = -8.0
    max_log_scale: float = 4.0

    @model_validator(mode="after")
    def _scale_starts_where_it_can_move(self) -> Self:
        start = math.log(self.initial_scale)
        if not self.min_log_scale < start < self.max_log_scale:
            raise ValueError(
                f"initial_scale {self.initial_scale} has log {start:.3g}, which is not between "
                f"min_log_scale {self.min_log_scale} and max_log_scale {self.max_log_scale}"
            )
        return self


class GaussianPosterior(_GaussianScale):
    """Diagonal Gaussian, mean and log scale linear in what it sees.

    Of the context alone (VED, WED-S), z is what a reply is made of. Of context and response
    (CVAE), the response must be known, so a reply's z comes from the prior. ``initial_scale``
    starts the deviation small, so that the mean can learn to carry the context before noise
    drowns it. ``initial_deviation`` is about that of the mean over contexts at the start; None
    leaves its map as torch makes it, which is about 0.1.
    """

    kind: Literal["gaussian"] = "gaussian"
    latent_dim: PositiveInt
    initial_deviation: float | None = Field(default=None, gt=0.0)
    sees: Literal["context", "context_and_response"] = "context"
    initial_scale: float = Field(default=0.1, gt=0.0, le=1.0)


class NoPrior(Config):
    """No distribution is asked of the codes (DED, GRU)."""

    kind: Literal["none"] = "none"


class StandardNormalPrior(Config):
    """N(0, I), whatever the context (VED, WED)."""

    kind: Literal["standard_normal"] = "standard_normal"


class ConditionalGaussianPrior(_GaussianScale):
    """Diagonal Gaussian, mean and log scale linear in the context's state (CVAE)."""

    kind: Literal["conditional_gaussian"] = "conditional_gaussian"


class EveryStepBridge(Config):
    """z joins the word embedding at every decoder step (Stochastic WAE, appendix C)."""

    kind: Literal["every_step"] = "every_step"


class FirstAndEveryStepBridge(Config):
    """u = MLP(z) + W e_c is the first word, and joins the embedding at every step after.

    Coupled-VAE (2020), appendices C and I.1; without z, u = W e_c.
    """

    kind: Literal["first_and_every_step"] = "first_and_every_step"


class LstmDecoder(Config):
    """One-layer LSTM from a zero state.

    ``tied_output``: the hidden state is mapped to an embedding and compared with the embedding
    table, which costs E instead of H products a word; otherwise one linear layer H -> V.
    """

    kind: Literal["lstm"] = "lstm"
    hidden_size: PositiveInt
    dropout: Probability = 0.2
    output_dropout: Probability = 0.0
    tied_output: bool = False


class GruDecoder(Config):
    """One-layer GRU from a zero state; its states pass a tanh layer of ``projection_size``."""

    kind: Literal["gru"] = "gru"
    hidden_size: PositiveInt
    projection_size: PositiveInt
    dropout: Probability = 0.2
    output_dropout: Probability = 0.2


class MatcherConfig(Config):
    """Two-layer towers over the encoder's states, for contexts and for replies; fitted last."""

    hidden_size: PositiveInt = 512
    output_size: PositiveInt = 256
    dropout: Probability = 0.2


EncoderConfig = Annotated[LstmEncoder | GruEncoder, Field(discriminator="kind")]
PosteriorConfig = Annotated[
    NoPosterior | DiracPosterior | GaussianPosterior, Field(discriminator="kind")
]
PriorConfig = Annotated[
    NoPrior | StandardNormalPrior | ConditionalGaussianPrior, Field(discriminator="kind")
]
BridgeConfig = Annotated[EveryStepBridge | FirstAndEveryStepBridge, Field(discriminator="kind")]
DecoderConfig = Annotated[LstmDecoder | GruDecoder, Field(discriminator="kind")]


class ModelConfig(Config):
    """One served model: what every axis is, and how large.

    ``embedding_std`` is the deviation at which embeddings start; None, E^-1/2, from which models
    learn more slowly, is that of older checkpoints. ``matcher`` None is a model that does not
    tell how well its replies fit.
    """

    vocab_size: PositiveInt
    embedding_dim: PositiveInt
    embedding_std: float | None = Field(default=1.0, gt=0.0)
    max_context_tokens: PositiveInt
    max_response_tokens: PositiveInt
    context_turns: PositiveInt = 1
    encoder: EncoderConfig
    posterior: PosteriorConfig
    prior: PriorConfig
    bridge: BridgeConfig = EveryStepBridge()
    decoder: DecoderConfig
    matcher: MatcherConfig | None = None

    @property
    def latent_dim(self) -> int:
        """Z."""
        return self.posterior.latent_dim

    @property
    def posterior_sees_response(self) -> bool:
        """Whether q is of context and response, so that replies take z from the prior."""
        return self.posterior.kind == "gaussian" and self.posterior.sees == "context_and_response"

    @model_validator(mode="after")
    def _pairs_are_possible(self) -> "ModelConfig":
        posterior, prior = self.posterior.kind, self.prior.kind
        if posterior == "gaussian" and prior == "none":
            raise ValueError(
                "posterior.kind 'gaussian' with prior.kind 'none': nothing holds the scale above "
                "zero; use posterior.kind 'dirac' or prior.kind 'standard_normal'"
            )
        if posterior == "none" and prior != "none":
            raise ValueError(
                f"posterior.kind 'none' with prior.kind {prior!r}: there is no z to compare with "
                "it; use prior.kind 'none'"
            )
        if prior == "conditional_gaussian" and not self.posterior_sees_response:
            raise ValueError(
                "prior.kind 'conditional_gaussian' with a posterior that sees the context alone: "
                "both would be told the same; set posterior.sees to 'context_and_response'"
            )
        return self

    @model_validator(mode="after")
    def _context_reaches_the_decoder(self) -> "ModelConfig":
        if self.bridge.kind != "every_step":
            return self
        if self.posterior.kind == "none":
            raise ValueError(
                "bridge.kind 'every_step' with posterior.kind 'none': nothing of the context "
                "reaches the decoder; use bridge.kind 'first_and_every_step'"
            )
        if self.posterior_sees_response and self.prior.kind != "conditional_gaussian":
            raise ValueError(
                "bridge.kind 'every_step', where z is drawn from a prior that ignores the "
                "context: use prior.kind 'conditional_gaussian' or bridge.kind "
                "'first_and_every_step'"
            )
        return self
