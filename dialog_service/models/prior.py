"""What the codes should look like: the distribution z is compared with in training."""

from torch import Tensor, nn

from dialog_service.models.config import PriorConfig
from dialog_service.models.distributions import DiagonalGaussian


class NoPrior(nn.Module):
    """Nothing is asked of z."""

    def forward(self, like: Tensor) -> None:
        """None, whatever the (B, Z) draw."""
        return


class StandardNormalPrior(nn.Module):
    """N(0, I), whatever the context."""

    def forward(self, like: Tensor) -> DiagonalGaussian:
        """The prior for a (B, Z) draw of z."""
        return DiagonalGaussian.standard(like.float())


Prior = NoPrior | StandardNormalPrior


def build_prior(config: PriorConfig) -> Prior:
    """The prior of a config: the one place that reads ``prior.kind``."""
    match config.kind:
        case "none":
            return NoPrior()
        case "standard_normal":
            return StandardNormalPrior()
