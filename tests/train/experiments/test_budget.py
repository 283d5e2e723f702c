"""How a time becomes shares, and a share epochs."""

import pytest

from train.experiments import budget
from train.experiments.budget import Budget, Plan, Speed, measured_speed, planned
from train.experiments.request import Run

SPEED = Speed(start_seconds=10, steps_per_second=11)  # with the 1.1: 100 steps in 10 s


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def plan(share: float, *, epochs: int = 20, evaluation_seconds: float = 30) -> Plan:
    return planned(
        share,
        SPEED,
        steps_per_epoch=100,
        epochs=epochs,
        evaluation_seconds=evaluation_seconds,
    )


@pytest.mark.parametrize(("share", "epochs"), [(241, 20), (239, 19), (141, 10), (1e9, 20)])
def test_as_many_epochs_as_fit_beside_start_and_evaluation(share: float, epochs: int):
    found = plan(share)
    assert found == Plan(epochs=epochs, planned_epochs=20)
    assert found.budgeted == (epochs if epochs < 20 else None)


@pytest.mark.parametrize("share", [49, 0, -5])
def test_a_row_gets_one_epoch_whatever_it_takes_and_says_so(share: float):
    assert plan(share) == Plan(epochs=1, planned_epochs=20, is_short_of_time=True)


@pytest.mark.parametrize(("share", "epochs"), [(101, 4), (371, 18)])
def test_an_evaluation_not_yet_timed_gets_three_minutes_or_half(share: float, epochs: int):
    assert plan(share, evaluation_seconds=0).epochs == epochs


def test_rows_share_what_is_left_equally():
    clock = Clock()
    shared = Budget(600, rows=3, jobs=1, now=clock)
    assert shared.share() == 200
    clock.now = 100  # the first took half its share: the others get more
    shared.row_ended()
    assert shared.share() == 250
    clock.now = 500  # the second overran: the third gets less
    shared.row_ended()
    assert shared.share() == 100
    clock.now = 700
    assert shared.share() == 0


def test_rows_side_by_side_get_longer_but_none_more_than_is_left():
    shared = Budget(600, rows=4, jobs=2, now=Clock())
    assert shared.share() == 300
    for _ in range(3):
        shared.row_ended()
    assert shared.share() == 600


def test_speed_is_measured_once_for_all_seeds(make_request, children):
    first, second = make_request("ded", seeds=(0, 1)).runs()
    speed = measured_speed(first, children)
    assert speed.steps_per_second == 10  # 40 steps in 4 seconds, as the state says
    assert measured_speed(second, children) == speed
    assert children.asked("--seed") == ["0"]
    assert [path.suffix for path in (first.folder.path.parent / ".speed").iterdir()] == [".json"]
    assert not first.folder.path.exists()


def test_measuring_is_over_soon_after_the_first_state(
    tmp_path, monkeypatch: pytest.MonkeyPatch, children, ded: Run
):
    clock = Clock()
    monkeypatch.setattr(budget.time, "monotonic", clock)
    watch = budget._Watch(tmp_path / "state.pt")
    clock.now = 500
    assert not watch()
    (tmp_path / "state.pt").touch()
    assert not watch()
    assert watch.start_seconds == 500
    clock.now += budget.MEASURED_SECONDS
    assert watch()


def test_what_trains_otherwise_is_measured_apart(make_request):
    (one, other), (wider, _) = (
        make_request("ded,wed_d", assignments=sets).runs() for sets in ((), ("a=1",))
    )
    assert len({one.kind, other.kind, wider.kind}) == 3
