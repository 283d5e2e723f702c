"""Confidence intervals over dialogues: what another test set of the same size would have given.

Two estimators, since resampling with replacement is only fair to sums. Figures made of sums
(BLEU, lengths, means over contexts) get the percentile bootstrap. Distinct n-grams and entropy
do not: a resample repeats dialogues, which adds tokens but no new words, so its figures all lie
below the real one; they get the delete-a-group jackknife, whose variance errs upwards (Efron and
Stein, 1981).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Sums = npt.NDArray[np.float64]
RESAMPLES = 1000
_NORMAL_975 = 1.959964


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95% interval; the ends are missing where one dialogue is all there is."""

    value: float
    low: float | None = None
    high: float | None = None


def resampled_sums(
    dialogues: Sums, *, seed: int, resamples: int = RESAMPLES
) -> npt.NDArray[np.float64]:
    """Sums over bootstrap resamples of the dialogues.

    The same seed and number of dialogues draw the same dialogues, so that two systems' resamples
    can be compared pair by pair.

    Args:
        dialogues: (D, F) additive counts of each dialogue.
        seed: of the resampling.
        resamples: R.

    Returns:
        (R, F) counts of each resample; (0, F) where fewer than two dialogues leave no choice.
    """
    random = np.random.default_rng(seed)
    count = len(dialogues)
    if count < 2:
        return np.empty((0, dialogues.shape[1]))
    sums = np.empty((resamples, dialogues.shape[1]))
    for row in sums:
        row[:] = np.bincount(random.integers(count, size=count), minlength=count) @ dialogues
    return sums


def bootstrap(
    total: Sums, resamples: npt.NDArray[np.float64], figure: Callable[[Sums], float]
) -> Estimate:
    """A figure of summed counts with the percentile interval of its resamples.

    Args:
        total: (F,) counts over all dialogues.
        resamples: (R, F) from ``resampled_sums``.
        figure: (F,) -> the figure; NaN where it is undefined, which leaves a resample out.
    """
    values = np.array([figure(sums) for sums in resamples])
    defined = values[~np.isnan(values)]
    if not len(defined):
        return Estimate(figure(total))
    low, high = np.quantile(defined, [0.025, 0.975])
    return Estimate(figure(total), float(low), float(high))


def jackknife(value: float, without_group: Sequence[float]) -> Estimate:
    """A figure with the normal interval of its delete-a-group jackknife.

    Shao and Tu (1995), 5.1.2: variance = (G - 1) / G x sum_g (value without g - their mean)^2.

    Args:
        value: over everything.
        without_group: G values, each over all but one group of dialogues.
    """
    groups = len(without_group)
    if groups < 2:
        return Estimate(value)
    mean = sum(without_group) / groups
    variance = (groups - 1) / groups * sum((other - mean) ** 2 for other in without_group)
    margin = _NORMAL_975 * math.sqrt(variance)
    return Estimate(value, value - margin, value + margin)
