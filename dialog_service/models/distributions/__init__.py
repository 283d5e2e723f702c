"""Distributions over z: sampler, density and registered KL of each side by side."""

from dialog_service.models.distributions.dirac import Dirac
from dialog_service.models.distributions.gaussian import (
    DiagonalGaussian,
    divergence_from_unit_scale,
)

__all__ = ["DiagonalGaussian", "Dirac", "divergence_from_unit_scale"]
