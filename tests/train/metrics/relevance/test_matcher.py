"""Ranks by hand, and who is ranked against."""

import numpy as np

from train.metrics.judgement import CANDIDATES
from train.metrics.relevance.calibration import Calibration, Evidence
from train.metrics.relevance.matcher import chosen, cosines, ranks

POST = np.array([[1, 0]], dtype=np.float32)


def line(*cosines: float) -> np.ndarray:
    """Unit vectors of the plane at these cosines to (1, 0)."""
    x = np.array(cosines)
    return np.stack([x, np.sqrt(1 - x**2)], axis=-1).astype(np.float32)


def test_rank_is_one_more_than_those_ahead_and_half_of_those_level():
    replies, others = line(0.95, 0.5, -0.9, 0.95), line(0.9, 0.5, 0.99, -0.2)
    own = Evidence(cosines(POST.repeat(4, 0), replies), np.array([0, 0, 0, 1.0]))
    found = ranks(
        Calibration(10, -20, 0), own, POST.repeat(4, 0), others, [np.array([0, 1, 3])] * 4
    )
    assert found.tolist() == [1.0, 2.5, 4.0, 4.0]


def test_a_post_is_always_ranked_against_the_same():
    assert np.array_equal(chosen("hello", 1000, 1), chosen("hello", 1000, 1))
    assert not np.array_equal(chosen("hello", 1000, 1), chosen("hello", 1000, 2))
    assert not np.array_equal(chosen("hello", 1000, 1), chosen("bye", 1000, 1))
    places = chosen("hello", 7, 1)
    assert len(places) == CANDIDATES - 1
    assert set(places.tolist()) == set(range(7))
