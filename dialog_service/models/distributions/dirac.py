"""The point mass over z: what a deterministic encoder gives."""

from typing import ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints


class Dirac(Distribution):
    """All mass at loc (B, Z): every draw is loc; it has no density, so no KL and no log_prob."""

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, loc: Tensor) -> None:
        """Take the point, (B, Z)."""
        self.loc = loc
        super().__init__(loc.shape[:-1], loc.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """(B, Z)."""
        return self.loc

    @property
    def variance(self) -> Tensor:
        """(B, Z) of zeros."""
        return torch.zeros_like(self.loc)

    @property
    def scale(self) -> Tensor:
        """(B, Z) of zeros: the deviation of a point mass."""
        return torch.zeros_like(self.loc)

    def rsample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        """``sample_shape`` copies of the point, with its gradient."""
        return self.loc.expand(self._extended_shape(torch.Size(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        """Refused: a point mass has no density.

        Raises:
            TypeError: always; a configuration that needs a density must not be built on it.
        """
        raise TypeError("a point mass has no density")
