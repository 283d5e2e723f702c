import pytest

from dialog_service.serving.circuit_breaker import CircuitBreaker


class Clock:
    now = 0.0

    def __call__(self) -> float:
        self.now += 0.04
        return self.now


@pytest.fixture
def changes() -> list[bool]:
    return []


def test_opens_after_failures_in_a_row_and_closes_with_one_success(changes: list[bool]) -> None:
    breaker = CircuitBreaker(changes.append, clock=Clock())
    for outcome in "ssfffsfff":
        breaker.succeed() if outcome == "s" else breaker.fail()
    assert not breaker.is_open
    breaker.fail()
    assert breaker.is_open
    breaker.fail()
    assert changes == [True, False]
    breaker.succeed()
    assert not breaker.is_open
    assert changes == [True, False, True]


def test_failures_at_one_moment_are_one_pause(changes: list[bool]) -> None:
    clock = Clock()
    breaker = CircuitBreaker(changes.append, clock=lambda: clock.now)
    for _ in range(100):
        breaker.fail()
    assert not breaker.is_open
    clock.now = 0.1
    breaker.fail()
    assert breaker.is_open


def test_one_failure_now_and_then_is_none(changes: list[bool]) -> None:
    clock = Clock()
    breaker = CircuitBreaker(changes.append, clock=lambda: clock.now)
    for clock.now in (0.0, 10.0):
        breaker.fail()
    assert changes == []
    breaker.fail()
    assert changes == [False]
