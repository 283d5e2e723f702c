"""The diagonal Gaussian over z and its divergences, in nats summed over Z."""

import torch
from torch import Tensor
from torch.distributions import Independent, Normal, register_kl
from torch.distributions.kl import kl_divergence


class DiagonalGaussian(Independent[Normal]):
    """N(loc, diag(scale^2)) over the last dimension: batch (B,), event (Z,)."""

    def __init__(self, loc: Tensor, scale: Tensor) -> None:
        """Take loc and scale, both (B, Z); scale > 0."""
        super().__init__(Normal(loc, scale, validate_args=False), 1, validate_args=False)

    @property
    def loc(self) -> Tensor:
        """(B, Z)."""
        loc: Tensor = self.base_dist.loc
        return loc

    @property
    def scale(self) -> Tensor:
        """(B, Z)."""
        scale: Tensor = self.base_dist.scale
        return scale

    @classmethod
    def standard(cls, like: Tensor) -> "DiagonalGaussian":
        """N(0, I) of the shape, device and type of ``like`` (B, Z)."""
        return cls(torch.zeros_like(like), torch.ones_like(like))


@register_kl(DiagonalGaussian, DiagonalGaussian)  # type: ignore[untyped-decorator]
def _gaussian_gaussian(p: DiagonalGaussian, q: DiagonalGaussian) -> Tensor:
    return kl_divergence(p.base_dist, q.base_dist).sum(-1)  # (B,)


def divergence_from_unit_scale(posterior: DiagonalGaussian) -> Tensor:
    """KL( N(loc, diag scale^2) || N(loc, I) ): how far the scale is from one, wherever loc is.

    Stochastic WAE (2019), the last term of Equation 5: sum_j (-log s_j + s_j^2 / 2 - 1/2).

    Returns:
        (B,) nats, >= 0, zero where every scale is one; no gradient reaches loc.
    """
    unit = DiagonalGaussian(posterior.loc, torch.ones_like(posterior.scale))
    return kl_divergence(posterior, unit)
