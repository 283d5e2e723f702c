"""Signals as an exception."""

import os
import signal

import pytest

from train.evaluate.stopping import Stopped, stopped_by_signals


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_block_and_says_with_what_code(number: signal.Signals, code: int):
    before = signal.getsignal(number)
    with pytest.raises(Stopped) as stopped, stopped_by_signals():
        os.kill(os.getpid(), number)
    assert stopped.value.exit_code == code
    assert str(stopped.value) == number.name
    assert signal.getsignal(number) is before


def test_a_second_signal_does_not_disturb_the_ending():
    endings = []

    def work() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)
            endings.append("done")

    with pytest.raises(Stopped, match="SIGTERM"), stopped_by_signals():
        work()
    assert endings == ["done"]
