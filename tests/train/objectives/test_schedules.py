"""Weights over a run: pure functions of its progress."""

import pytest

from train.config import ConstantSchedule, RampSchedule
from train.objectives.schedules import schedule_factor


@pytest.mark.parametrize("progress", [0.0, 0.3, 1.0])
def test_a_constant_is_whole_throughout(progress: float) -> None:
    assert schedule_factor(ConstantSchedule(), progress) == 1.0


@pytest.mark.parametrize(
    ("progress", "factor"),
    [(0.0, 0.0), (0.2, 0.0), (0.25, 0.25), (0.3, 0.5), (0.4, 1.0), (1.0, 1.0)],
)
def test_a_ramp_rises_from_its_start_to_its_end(progress: float, factor: float) -> None:
    assert schedule_factor(RampSchedule(start=0.2, end=0.4), progress) == pytest.approx(factor)


def test_a_ramp_may_span_the_run() -> None:
    whole = RampSchedule(start=0.0, end=1.0)
    assert [schedule_factor(whole, step / 4) for step in range(5)] == [0, 0.25, 0.5, 0.75, 1]
