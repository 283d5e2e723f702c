"""Intervals against what statistics says they are."""

import numpy as np
import pytest

from train.metrics.intervals import Estimate, bootstrap, jackknife, resampled_sums

VALUES = np.random.default_rng(3).exponential(size=300)


def mean(sums) -> float:
    return float(sums[0] / sums[1]) if sums[1] else float("nan")


def test_bootstrap_of_a_mean_is_as_wide_as_its_standard_error():
    dialogues = np.stack([VALUES, np.ones_like(VALUES)], axis=1)
    estimate = bootstrap(dialogues.sum(axis=0), resampled_sums(dialogues, seed=1), mean)
    error = VALUES.std(ddof=1) / np.sqrt(len(VALUES))
    assert estimate.value == pytest.approx(VALUES.mean())
    assert (estimate.high - estimate.low) / (2 * 1.96 * error) == pytest.approx(1, abs=0.1)


def test_jackknife_of_a_mean_is_its_standard_error():
    without = [(VALUES.sum() - value) / (len(VALUES) - 1) for value in VALUES]
    estimate = jackknife(VALUES.mean(), without)
    error = VALUES.std(ddof=1) / np.sqrt(len(VALUES))
    assert estimate.high - estimate.value == pytest.approx(1.959964 * error)
    assert estimate.value - estimate.low == pytest.approx(1.959964 * error)


def test_resamples_depend_on_the_seed_alone():
    one, other = np.arange(10.0).reshape(-1, 1), np.arange(10.0).reshape(-1, 1) * 2
    first = resampled_sums(one, seed=5)
    assert (resampled_sums(other, seed=5) == 2 * first).all()
    assert not (resampled_sums(one, seed=6) == first).all()


def test_one_dialogue_gives_no_interval():
    only = np.array([[3.0, 2.0]])
    assert bootstrap(only[0], resampled_sums(only, seed=0), mean) == Estimate(1.5)
    assert jackknife(1.5, [2.0]) == Estimate(1.5)


def test_resamples_where_the_figure_is_undefined_are_left_out():
    dialogues = np.array([[4.0, 2.0], [0.0, 0.0]])
    estimate = bootstrap(dialogues.sum(axis=0), resampled_sums(dialogues, seed=0), mean)
    assert estimate == Estimate(2.0, 2.0, 2.0)
