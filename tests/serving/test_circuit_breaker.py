from dialog_service.serving.circuit_breaker import CircuitBreaker


def test_opens_after_failures_in_a_row_and_closes_with_one_success() -> None:
    changes: list[bool] = []
    breaker = CircuitBreaker(changes.append, failure_limit=3)
    for outcome in "ssffsff":
        breaker.succeed() if outcome == "s" else breaker.fail()
    assert not breaker.is_open
    breaker.fail()
    assert breaker.is_open
    breaker.fail()
    assert changes == [True, False]
    breaker.succeed()
    assert not breaker.is_open
    assert changes == [True, False, True]


def test_a_server_that_was_never_there() -> None:
    changes: list[bool] = []
    breaker = CircuitBreaker(changes.append, failure_limit=2)
    breaker.fail()
    assert changes == []
    breaker.fail()
    assert changes == [False]
