"""Probabilities of cosines."""

import numpy as np
import pytest

from train.metrics.relevance.calibration import Calibration, calibrate


def test_the_line_that_made_the_data_is_found():
    random = np.random.default_rng(0)
    x = random.uniform(-1, 1, 200_000)
    is_own = random.random(len(x)) < Calibration(4.0, -1.0).probability(x)
    own, others = x[is_own], x[~is_own]
    # Weighting both kinds alike moves the offset by the log of their ratio, the slope not at all.
    found = calibrate(own, others)
    assert found.slope == pytest.approx(4.0, abs=0.08)
    assert found.offset == pytest.approx(-1.0 - np.log(len(own) / len(others)), abs=0.05)


def test_kinds_that_do_not_overlap_give_a_finite_line():
    found = calibrate(np.full(10, 0.9), np.full(50, 0.1))
    assert 0 < found.slope < 100
    assert found.probability(np.array([0.9]))[0] == pytest.approx(11 / 12, abs=1e-3)
    assert found.probability(np.array([0.1]))[0] == pytest.approx(1 / 12, abs=1e-3)


def test_what_tells_nothing_is_even():
    same = np.linspace(-1, 1, 11)
    assert calibrate(same, same).probability(same) == pytest.approx(np.full(11, 0.5))
