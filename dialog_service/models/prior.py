"""What z is expected to look like before the response is known."""

import torch
from torch import Tensor, nn

from dialog_service.models.config import PriorConfig
from dialog_service.models.distributions import DiagonalGaussian
from dialog_service.models.posterior import LinearGaussian


class NoPrior(nn.Module):
    """Nothing is asked of z."""

    def forward(self, context: Tensor) -> None:
        """None, whatever the (B, C) context."""
        return


class StandardNormalPrior(nn.Module):
    """N(0, I), whatever the context."""

    def __init__(self, latent_dim: int) -> None:
        """Know Z."""
        super().__init__()
        self.latent_dim = latent_dim

    def forward(self, context: Tensor) -> DiagonalGaussian:
        """The prior for each of (B, C) contexts."""
        like = torch.empty(len(context), self.latent_dim, device=context.device)
        return DiagonalGaussian.standard(like)


Prior = NoPrior | StandardNormalPrior | LinearGaussian


def build_prior(config: PriorConfig, context_size: int, latent_dim: int) -> Prior:
    """The prior of a config: the one place that reads ``prior.kind``."""
    match config.kind:
        case "none":
            return NoPrior()
        case "standard_normal":
            return StandardNormalPrior(latent_dim)
        case "conditional_gaussian":
            return LinearGaussian(context_size, latent_dim, config)
