"""What a model is: one small tagged config per choice on each axis. Knows no tensors.

A variant is a combination of these rows, never a class of its own. Sizes have no defaults here,
they are the presets' business; what a paper fixes has.
"""

import math
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

Probability = Annotated[float, Field(ge=0.0, lt=1.0)]


class Config(BaseModel):
    """Frozen; an unknown key is an error that names its path."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class LstmEncoder(Config):
    """Bidirectional LSTM over the context, ``hidden_size`` units per direction."""

    kind: Literal["lstm"] = "lstm"
    hidden_size: PositiveInt
    dropout: Probability = 0.2


class DiracPosterior(Config):
    """z is a linear map of the encoder's state (DED, WED-D)."""

    kind: Literal["dirac"] = "dirac"
    latent_dim: PositiveInt


class GaussianPosterior(Config):
    """Diagonal Gaussian, mean and log scale linear in the encoder's state (VED, WED-S).

    ``initial_scale`` starts the deviation small, so that the mean can learn to carry the context
    before noise drowns it; the log scale is clamped to keep ``exp`` finite.
    """

    kind: Literal["gaussian"] = "gaussian"
    latent_dim: PositiveInt
    initial_scale: float = Field(default=0.1, gt=0.0, le=1.0)
    min_log_scale: float = -8.0
    max_log_scale: float = 4.0

    @model_validator(mode="after")
    def _scale_starts_where_it_can_move(self) -> "GaussianPosterior":
        start = math.log(self.initial_scale)
        if not self.min_log_scale < start < self.max_log_scale:
            raise ValueError(
                f"initial_scale {self.initial_scale} has log {start:.3g}, which is not between "
                f"min_log_scale {self.min_log_scale} and max_log_scale {self.max_log_scale}"
            )
        return self


class NoPrior(Config):
    """No distribution is asked of the codes (DED)."""

    kind: Literal["none"] = "none"


class StandardNormalPrior(Config):
    """N(0, I), whatever the context (VED, WED)."""

    kind: Literal["standard_normal"] = "standard_normal"


class EveryStepBridge(Config):
    """z joins the word embedding at every decoder step (Stochastic WAE, section 2)."""

    kind: Literal["every_step"] = "every_step"


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


EncoderConfig = LstmEncoder
PosteriorConfig = Annotated[DiracPosterior | GaussianPosterior, Field(discriminator="kind")]
PriorConfig = Annotated[NoPrior | StandardNormalPrior, Field(discriminator="kind")]
BridgeConfig = EveryStepBridge
DecoderConfig = LstmDecoder


class ModelConfig(Config):
    """One served model: what every axis is, and how large."""

    vocab_size: PositiveInt
    embedding_dim: PositiveInt
    max_context_tokens: PositiveInt
    max_response_tokens: PositiveInt
    context_turns: PositiveInt = 1
    encoder: EncoderConfig
    posterior: PosteriorConfig
    prior: PriorConfig
    bridge: BridgeConfig = EveryStepBridge()
    decoder: DecoderConfig

    @property
    def latent_dim(self) -> int:
        """Z."""
        return self.posterior.latent_dim

    @model_validator(mode="after")
    def _pairs_are_possible(self) -> "ModelConfig":
        if self.posterior.kind == "gaussian" and self.prior.kind == "none":
            raise ValueError(
                "posterior.kind 'gaussian' with prior.kind 'none': nothing holds the scale above "
                "zero; use posterior.kind 'dirac' or prior.kind 'standard_normal'"
            )
        return self
