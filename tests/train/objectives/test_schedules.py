"""Weights over a run, and what a schedule remembers of it."""

import pytest
import torch

from train.config import ConstantSchedule, RampSchedule, SigmoidSchedule
from train.objectives.schedules import Sigmoid, build_schedule
from train.presets import PAPER


@pytest.mark.parametrize("progress", [0.0, 0.3, 1.0])
def test_a_constant_is_whole_throughout(progress: float) -> None:
    assert build_schedule(ConstantSchedule())(progress) == 1.0


@pytest.mark.parametrize(
    ("progress", "factor"),
    [(0.0, 0.0), (0.2, 0.0), (0.25, 0.25), (0.3, 0.5), (0.4, 1.0), (1.0, 1.0)],
)
def test_a_ramp_rises_from_its_start_to_its_end(progress: float, factor: float) -> None:
    ramp = build_schedule(RampSchedule(start=0.2, end=0.4))
    assert ramp(progress) == pytest.approx(factor)


def test_a_ramp_may_span_the_run() -> None:
    whole = build_schedule(RampSchedule(start=0.0, end=1.0))
    assert [whole(step / 4) for step in range(5)] == [0, 0.25, 0.5, 0.75, 1]


def test_steps_become_fractions_of_the_run() -> None:
    ramp = PAPER.kl_ramp.in_fractions(60_000)
    assert ramp.in_fractions(7) == ramp
    whole = build_schedule(ramp)
    factors = [whole(step / 60_000) for step in (1000, 2000, 22_000, 42_000, 60_000)]
    assert factors == pytest.approx([0, 0, 0.5, 1, 1])


@pytest.mark.parametrize(
    ("step", "factor"), [(1, 0.000124), (1000, 0.000911), (2000, 0.006693), (2300, 0.012128)]
)
def test_the_paper_s_sigmoid_has_the_weights_of_its_code(step: int, factor: float) -> None:
    schedule = build_schedule(PAPER.annealing.in_fractions(118_800))
    assert float(schedule(step / 118_800)) == pytest.approx(factor, abs=5e-7)


def test_a_pinned_sigmoid_stays_where_it_stopped() -> None:
    schedule = build_schedule(PAPER.annealing.in_fractions(118_800))
    assert float(schedule(1.0)) == pytest.approx(0.012128, abs=5e-7)


RISING = SigmoidSchedule(center=0.5, width=0.1, window=0.02, patience=0.05)


def climbed(schedule: Sigmoid, *, peak: float, until: float, since: float = 0.0) -> None:
    """Show the schedule a weighted term that rises up to ``peak`` and falls after it."""
    for step in range(round(since * 1000), round(until * 1000)):
        progress = step / 1000
        schedule(progress)
        schedule.observe(torch.tensor(1.0 - abs(progress - peak)), progress)


def test_a_sigmoid_stops_at_the_peak_of_its_term() -> None:
    schedule = Sigmoid(RISING)
    climbed(schedule, peak=0.4, until=0.44)
    assert float(schedule(0.44)) == pytest.approx(1 / (1 + torch.tensor(0.6).exp().item()))
    climbed(schedule, peak=0.4, until=0.8)
    held = float(schedule(0.8))
    assert held == float(schedule(1.0))
    # The moving average peaks behind the term, by no more than its window.
    low, high = (float(Sigmoid(RISING)(place)) for place in (0.4, 0.43))
    assert low <= held <= high


def test_an_evaluation_sees_the_weight_of_the_last_step() -> None:
    schedule = Sigmoid(RISING)
    climbed(schedule, peak=2.0, until=0.3)
    in_training = float(schedule(0.299))
    schedule.eval()
    assert float(schedule(1.0)) == pytest.approx(in_training)


def test_a_saved_sigmoid_goes_on_where_it_was() -> None:
    whole, begun, resumed = (Sigmoid(RISING) for _ in range(3))
    climbed(whole, peak=0.4, until=0.8)
    climbed(begun, peak=0.4, until=0.43)  # past the peak, and not yet sure of it
    assert not begun.is_settled
    resumed.load_state_dict(begun.state_dict())
    climbed(resumed, peak=0.4, since=0.43, until=0.8)
    assert whole.is_settled
    assert resumed.state_dict() == whole.state_dict()
