"""From a cosine and what was copied to the probability that a reply is the response."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
MUCH = 0.35  # of a reply's features taken from the post; few responses have as many
_STEPS = 50


@dataclass(frozen=True, slots=True)
class Evidence:
    """Of N replies: cosines with their posts (N,), and the shares copied from them (N,)."""

    cosines: Floats
    copied: Floats

    @property
    def columns(self) -> Floats:
        """(N, 3) cosine, copied share beyond ``MUCH``, and one."""
        excess = np.maximum(0.0, self.copied - MUCH)
        return np.stack([self.cosines, excess, np.ones(len(self.cosines))], axis=1)


@dataclass(frozen=True, slots=True)
class Calibration:
    """Logit = slope x cosine + copying x (copied share beyond ``MUCH``) + offset.

    A cosine alone cannot tell a reply that is about the same from one that is the same.
    """

    slope: float
    copying: float
    offset: float

    def logits(self, evidence: Evidence) -> Floats:
        """(N,)."""
        found: Floats = evidence.columns @ np.array([self.slope, self.copying, self.offset])
        return found

    def probability(self, evidence: Evidence) -> Floats:
        """(N,) between 0 and 1; responses and random replies equally likely beforehand."""
        return sigmoid(self.logits(evidence))


def sigmoid(logits: Floats) -> Floats:
    """1 / (1 + exp(-x)), without overflow."""
    return 1 / (1 + np.exp(-np.clip(logits, -30, 30)))


def calibrate(own: Evidence, *others: Evidence) -> Calibration:
    """Maximum likelihood by Newton's method.

    Platt (1999), "Probabilistic outputs for support vector machines": its targets of
    (n + 1) / (n + 2) and 1 / (n + 2) keep the line finite where nothing overlaps.

    Args:
        own: posts with their responses, at least one.
        others: kinds of replies that are not, each of as much weight as the responses.
    """
    count = len(own.cosines)
    kinds = (own, *others)
    sizes = [len(kind.cosines) for kind in kinds]
    x = np.concatenate([kind.columns for kind in kinds])
    target = np.repeat([(count + 1) / (count + 2), *[1 / (count + 2)] * len(others)], sizes)
    weight = np.repeat([count / size for size in sizes], sizes)
    found = np.zeros(3)
    for _ in range(_STEPS):
        p = sigmoid(x @ found)
        gradient = x.T @ (weight * (p - target))
        hessian = (x * (weight * p * (1 - p))[:, None]).T @ x + 1e-6 * np.eye(3)
        step = np.linalg.solve(hessian, gradient)
        found -= step * min(1.0, 5.0 / np.abs(step).max())
        if np.abs(step).max() < 1e-9:
            break
    return Calibration(*map(float, found))
