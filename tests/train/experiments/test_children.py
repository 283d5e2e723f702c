"""Real processes: how they end, and how they are ended."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from train.experiments.children import Children, CommandFailed, Stopped

# Says that it runs, then waits for a signal and says which.
WAITS = """
import pathlib, signal, sys, time
def end(number, frame):
    print("signal", number, flush=True)
    sys.exit(128 + number)
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, end)
pathlib.Path(sys.argv[1]).touch()
time.sleep(100)
"""


def children(stop: signal.Signals | None = None, **environment: str) -> Children:
    own = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return Children(lambda: stop, {**own, **environment})


def test_output_goes_to_the_log_after_what_is_there(tmp_path: Path):
    log = tmp_path / "deep" / "log"
    for word in ("one", "two"):
        code = f"import os, sys; print('{word}', os.environ['X']); print('err', file=sys.stderr)"
        children(X="x").run([sys.executable, "-c", code], log)
    assert log.read_text() == "one x\nerr\ntwo x\nerr\n"


def test_a_failure_is_its_last_line_and_where_the_rest_is(tmp_path: Path):
    log = tmp_path / "log"
    code = "import sys; print('start'); sys.exit('error: no such thing\\n\\n')"
    with pytest.raises(CommandFailed, match=r"^error: no such thing \(.*log\)$"):
        children().run([sys.executable, "-c", code], log)


def test_a_silent_failure_is_its_code(tmp_path: Path):
    with pytest.raises(CommandFailed, match="exit code 7"):
        children().run([sys.executable, "-c", "raise SystemExit(7)"], tmp_path / "log")


def test_the_signal_that_stops_all_reaches_the_child(tmp_path: Path):
    running, log = tmp_path / "running", tmp_path / "log"
    stopping = Children(lambda: signal.SIGINT if running.exists() else None, dict(os.environ))
    began = time.monotonic()
    with pytest.raises(Stopped):
        stopping.run([sys.executable, "-c", WAITS, str(running)], log)
    assert log.read_text() == f"signal {signal.SIGINT:d}\n"
    assert time.monotonic() - began < 60


def test_nothing_is_started_after_the_signal(tmp_path: Path):
    with pytest.raises(Stopped):
        children(signal.SIGTERM).run([sys.executable, "-c", ""], tmp_path / "log")
    assert list(tmp_path.iterdir()) == []


def test_enough_ends_a_child_without_a_failure(tmp_path: Path):
    running, log = tmp_path / "running", tmp_path / "log"
    children().run([sys.executable, "-c", WAITS, str(running)], log, running.exists)
    assert log.read_text() == f"signal {signal.SIGTERM:d}\n"
