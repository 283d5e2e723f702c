"""From cosines to the probability that a reply is the response and not a random one."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
_STEPS = 50


@dataclass(frozen=True, slots=True)
class Calibration:
    """p = 1 / (1 + exp(-(slope x cosine + offset))), both kinds equally likely beforehand."""

    slope: float
    offset: float

    def probability(self, cosines: Floats) -> Floats:
        """(B,) between 0 and 1."""
        return 1 / (1 + np.exp(-(self.slope * cosines + self.offset)))


def calibrate(own: Floats, others: Floats) -> Calibration:
    """Maximum likelihood by Newton's method, both kinds of equal weight in all.

    Platt (1999), "Probabilistic outputs for support vector machines": its targets of
    (n + 1) / (n + 2) and 1 / (n + 2) keep the slope finite where nothing overlaps.

    Args:
        own: (N,) cosines of posts with their responses, N >= 1.
        others: (M,) cosines of posts with random replies, M >= 1.
    """
    x = np.stack([np.concatenate([own, others]), np.ones(len(own) + len(others))], axis=1)
    target = np.repeat([(len(own) + 1) / (len(own) + 2), 1 / (len(own) + 2)],
                       [len(own), len(others)])  # fmt: skip
    weight = np.repeat([1.0, len(own) / len(others)], [len(own), len(others)])
    found = np.zeros(2)
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-np.clip(x @ found, -30, 30)))
        gradient = x.T @ (weight * (p - target))
        hessian = (x * (weight * p * (1 - p))[:, None]).T @ x + 1e-6 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        found -= step * min(1.0, 5.0 / np.abs(step).max())
        if np.abs(step).max() < 1e-9:
            break
    return Calibration(slope=float(found[0]), offset=float(found[1]))
