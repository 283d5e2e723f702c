"""What a latent carries: mutual information with the data, active dimensions, deviations.

Functions of the means and deviations of a posterior over many items; knows no models.
"""

import math

import torch
from torch import Tensor

from train.metrics.health import Histogram

ACTIVE_VARIANCE = 0.01  # Burda et al. (2016)
# Ten bins a decade; a deviation outside counts in the bin at that end.
_LOWEST_DECADE, _HIGHEST_DECADE, _BINS_PER_DECADE = -4, 2, 10


def mutual_information(
    loc: Tensor, scale: Tensor, *, draws: int, others: int, generator: torch.Generator
) -> Tensor:
    """Information between each item and its code under q(z | x), by Monte Carlo.

    Coupled-VAE (2020), Equations 12 and 13: the mean over draws z ~ q(z | x_n) of
    log q(z | x_n) - log( 1/M sum_{j != n} q(z | x_j) ), the item itself skipped, so that the
    figure is not bound by log M. It errs upwards, a logarithm being concave, and the more so the
    fewer the others. One item at a time: memory grows with ``draws`` x ``others``.

    Args:
        loc: (N, Z) means of the diagonal Gaussians q(z | x_n).
        scale: (N, Z) their deviations.
        draws: of z for each item.
        others: M, chosen at random for each item, or all where there are no more.
        generator: of draws and choices; on the CPU.

    Returns:
        (N,) float64 nats; the mean over items is the estimate, and may be a little below zero.

    Raises:
        ValueError: fewer than two items, where there is no other.
    """
    if len(loc) < 2:
        raise ValueError("mutual information needs at least two items")
    mixture = _Mixture(loc, scale)
    terms = []
    for item in range(len(loc)):
        noise = torch.randn(draws, loc.shape[1], generator=generator, dtype=torch.float64)
        chosen = _others(item, len(loc), others, generator)
        terms.append(mixture.information(item, noise.to(loc.device), chosen.to(loc.device)))
    return torch.stack(terms)


class _Mixture:
    """Every item's log density as one product: -z^2/2s^2 + z m/s^2 - m^2/2s^2 - log s, summed."""

    def __init__(self, loc: Tensor, scale: Tensor) -> None:
        # From the middle, so that the squares that cancel are no larger than they must be.
        self.loc = (loc - loc.mean(dim=0)).double()
        self.scale = scale.double()
        precision = self.scale.pow(-2)
        self.factors = torch.cat([precision * -0.5, precision * self.loc], dim=1)  # (N, 2Z)
        self.log_scale = self.scale.log().sum(dim=1)
        self.offset = -0.5 * (precision * self.loc.square()).sum(dim=1) - self.log_scale  # (N,)

    def information(self, item: int, noise: Tensor, others: Tensor) -> Tensor:
        """() nats; the share of pi is the same on both sides and left out.

        Args:
            item: whose information.
            noise: (K, Z).
            others: (M,) indices.
        """
        z = self.loc[item] + self.scale[item] * noise
        own = -0.5 * noise.square().sum(dim=1) - self.log_scale[item]  # (K,)
        powers = torch.cat([z.square(), z], dim=1)
        log_probs = torch.addmm(self.offset[others], powers, self.factors[others].T)  # (K, M)
        return (own - log_probs.logsumexp(dim=1)).mean() + math.log(len(others))


def _others(item: int, count: int, wanted: int, generator: torch.Generator) -> Tensor:
    """Up to ``wanted`` different indices below ``count``, never ``item``."""
    rest = count - 1
    if wanted < rest:
        chosen = torch.randperm(rest, generator=generator)[:wanted]
    else:
        chosen = torch.arange(rest)
    return chosen + (chosen >= item)


def active_units(loc: Tensor) -> int:
    """Dimensions whose (N, Z) posterior mean moves over the data: unbiased variance > 0.01.

    Raises:
        ValueError: fewer than two items, where there is no variance.
    """
    if len(loc) < 2:
        raise ValueError("active units need at least two items")
    return int((loc.double().var(dim=0) > ACTIVE_VARIANCE).sum())


def scale_histogram(scale: Tensor) -> Histogram:
    """Counts of (N, Z) deviations over everything, in fixed bins even in the logarithm."""
    bins = (_HIGHEST_DECADE - _LOWEST_DECADE) * _BINS_PER_DECADE
    exponents = torch.linspace(_LOWEST_DECADE, _HIGHEST_DECADE, bins + 1, dtype=torch.float64)
    edges = (10.0**exponents).tolist()
    place = torch.bucketize(
        scale.detach().double().cpu().flatten(), torch.tensor(edges[1:-1]).double(), right=True
    )
    counts = torch.bincount(place, minlength=bins).tolist()
    return Histogram(edges=tuple(edges), counts=tuple(counts))
