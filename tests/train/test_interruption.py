"""Signals as requests to stop."""

import os
import signal
import time

import pytest

from train import interruption
from train.interruption import StopRequests, stop_requests


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_remembered_and_interrupts_nothing(number: signal.Signals):
    before = signal.getsignal(number)
    with stop_requests() as asked:
        assert asked.caught is None
        os.kill(os.getpid(), number)
        assert asked.caught is number
    assert signal.getsignal(number) is before


def second_signal(
    monkeypatch: pytest.MonkeyPatch, seconds_later: float
) -> list[tuple[int, object]]:
    """What a SIGINT does to the process that many seconds after a SIGTERM."""
    done: list[tuple[int, object]] = []
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(interruption.signal, "signal", lambda *given: done.append(given))
    monkeypatch.setattr(
        interruption.signal, "raise_signal", lambda given: done.append((given, "raised"))
    )
    asked = StopRequests()
    asked(signal.SIGTERM, None)
    now[0] += seconds_later
    asked(signal.SIGINT, None)
    assert asked.caught is signal.SIGTERM
    return done


def test_a_second_request_ends_the_process(monkeypatch: pytest.MonkeyPatch):
    assert second_signal(monkeypatch, 1.5) == [
        (signal.SIGINT, signal.SIG_DFL),
        (signal.SIGINT, "raised"),
    ]


def test_signals_sent_together_are_one_request(monkeypatch: pytest.MonkeyPatch):
    assert second_signal(monkeypatch, 0.2) == []
