"""From an encoder's state to a distribution over z."""

import math

import torch
from torch import Tensor, nn

from dialog_service.models.affine import RowsLinear
from dialog_service.models.config import ConditionalGaussianPrior, PosteriorConfig
from dialog_service.models.config import DiracPosterior as DiracConfig
from dialog_service.models.config import GaussianPosterior as GaussianConfig
from dialog_service.models.distributions import DiagonalGaussian, Dirac

Belief = DiagonalGaussian | Dirac

# Of one unit over contexts before training, measured: .175 in LSTM encoders of 128 to 512 units,
# .155 at the paper's sizes.
_STATE_DEVIATION = 0.17


class NoPosterior(nn.Module):
    """The only distribution over no dimensions."""

    is_deterministic = True

    def forward(self, encoded: Tensor) -> Dirac:
        """(B, I) encoder states -> point masses over (B, 0)."""
        return Dirac(torch.zeros(len(encoded), 0, device=encoded.device))


class DiracPosterior(nn.Module):
    """z = W e + b; the paper's text takes the state itself, its code this map (we too)."""

    is_deterministic = True

    def __init__(self, input_size: int, config: DiracConfig) -> None:
        """Build the linear map input_size -> Z."""
        super().__init__()
        self.loc = RowsLinear(input_size, config.latent_dim)
        _start_at(self.loc, config.initial_deviation)

    def forward(self, encoded: Tensor) -> Dirac:
        """(B, I) encoder states -> point masses over (B, Z)."""
        return Dirac(self.loc(encoded).float())


class LinearGaussian(nn.Module):
    """N(W e + b, diag exp(V e + c)^2): a posterior of what e is of, or a prior of the context."""

    is_deterministic = False

    def __init__(
        self, input_size: int, latent_dim: int, config: GaussianConfig | ConditionalGaussianPrior
    ) -> None:
        """Build both maps; the scale starts at ``initial_scale`` for every input."""
        super().__init__()
        self.loc = RowsLinear(input_size, latent_dim)
        if isinstance(config, GaussianConfig):
            _start_at(self.loc, config.initial_deviation)
        self.log_scale = RowsLinear(input_size, latent_dim)
        nn.init.zeros_(self.log_scale.weight)
        nn.init.constant_(self.log_scale.bias, math.log(config.initial_scale))
        self.clamp = (config.min_log_scale, config.max_log_scale)

    def forward(self, encoded: Tensor) -> DiagonalGaussian:
        """(B, I) encoder states -> Gaussians over (B, Z)."""
        log_scale = self.log_scale(encoded).float().clamp(*self.clamp)
        return DiagonalGaussian(self.loc(encoded).float(), log_scale.exp())


def _start_at(loc: nn.Linear, deviation: float | None) -> None:
    """Have a map of encoder states begin with outputs of about this deviation over contexts."""
    if deviation is not None:
        nn.init.normal_(loc.weight, std=deviation / (_STATE_DEVIATION * loc.in_features**0.5))
        nn.init.zeros_(loc.bias)


Posterior = NoPosterior | DiracPosterior | LinearGaussian


def build_posterior(config: PosteriorConfig, input_size: int) -> Posterior:
    """The posterior of a config: the one place that reads ``posterior.kind``."""
    match config.kind:
        case "none":
            return NoPosterior()
        case "dirac":
            return DiracPosterior(input_size, config)
        case "gaussian":
            return LinearGaussian(input_size, config.latent_dim, config)
