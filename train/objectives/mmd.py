"""Maximum mean discrepancy between codes and prior draws."""

from collections.abc import Callable

import torch
from torch import Tensor

KERNEL_SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
Kernel = Callable[[Tensor, Tensor], Tensor]


def inverse_multiquadratic(base: float) -> Kernel:
    """k(x, y) = sum over scales s of C / (C + |x - y|^2), C = s * base.

    Stochastic WAE (2019), section 2, gives one kernel of this form; its published code and the
    WAE reference sum seven scales, as here.

    Args:
        base: C of the middle scale; 2 Z by default, 4 Z in the paper's code.

    Returns:
        (N, Z), (M, Z) -> (N, M), values in (0, 7].
    """

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        squared = (x.square().sum(1)[:, None] + y.square().sum(1) - 2 * x @ y.T).clamp(min=0)
        return torch.stack([s * base / (s * base + squared) for s in KERNEL_SCALES]).sum(0)

    return kernel


def mmd(posterior_z: Tensor, prior_z: Tensor, kernel: Kernel) -> Tensor:
    """Unbiased estimate of the squared maximum mean discrepancy.

    E k(z, z') + E k(w, w') - 2 E k(z, w) (Gretton et al. 2012, Lemma 6). Equation 3 of
    Stochastic WAE (2019) prints the cross term without its factor 2; that is no divergence, and
    the paper's code has the 2.

    Args:
        posterior_z: (B, Z) one draw per example from the posterior.
        prior_z: (B, Z) independent draws from the prior.
        kernel: pairwise kernel, (B, Z), (B, Z) -> (B, B).

    Returns:
        () dimensionless; a single value may be negative.

    Raises:
        ValueError: B < 2, where the estimate is undefined.
    """
    rows = len(posterior_z)
    if rows < 2:
        raise ValueError(f"MMD needs at least 2 examples, got {rows}")
    within = _off_diagonal_sum(kernel(posterior_z, posterior_z))
    within = within + _off_diagonal_sum(kernel(prior_z, prior_z))
    return within / (rows * (rows - 1)) - 2 * kernel(posterior_z, prior_z).mean()


def _off_diagonal_sum(matrix: Tensor) -> Tensor:
    return matrix.sum() - matrix.diagonal().sum()
