"""Probabilities of evidence."""

import numpy as np
import pytest

from train.metrics.relevance.calibration import MUCH, Calibration, Evidence, calibrate

RANDOM = np.random.default_rng(0)


def of(cosines: np.ndarray, copied: float = 0.0) -> Evidence:
    return Evidence(cosines, np.full(len(cosines), copied))


def test_the_line_that_made_the_data_is_found():
    x = RANDOM.uniform(-1, 1, 200_000)
    is_own = RANDOM.random(len(x)) < Calibration(4.0, 0.0, -1.0).probability(of(x))
    own, others = x[is_own], x[~is_own]
    # Weighting both kinds alike moves the offset by the log of their ratio, the slope not at all.
    found = calibrate(of(own), of(others))
    assert found.slope == pytest.approx(4.0, abs=0.08)
    assert found.offset == pytest.approx(-1.0 - np.log(len(own) / len(others)), abs=0.05)


def test_kinds_that_do_not_overlap_give_a_finite_line():
    found = calibrate(of(np.full(10, 0.9)), of(np.full(50, 0.1)))
    assert 0 < found.slope < 100
    assert found.probability(of(np.array([0.9])))[0] == pytest.approx(11 / 12, abs=1e-3)
    assert found.probability(of(np.array([0.1])))[0] == pytest.approx(1 / 12, abs=1e-3)


def test_what_tells_nothing_is_even():
    same = of(np.linspace(-1, 1, 11))
    assert calibrate(same, same).probability(same) == pytest.approx(np.full(11, 0.5))


def test_copies_cost_and_leave_the_rest_as_it_was():
    own, random = of(RANDOM.normal(0.5, 0.2, 500)), of(RANDOM.normal(0.0, 0.2, 500))
    plain, guarded = calibrate(own, random), calibrate(own, random, of(own.cosines, 1.0))
    assert guarded.probability(own) == pytest.approx(plain.probability(own), abs=0.03)
    assert guarded.probability(of(own.cosines, 1.0)).mean() < 0.05
    assert guarded.probability(of(own.cosines, MUCH)) == pytest.approx(guarded.probability(own))
