"""Processes that are started, watched, told and ended, with small programs in their place."""

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from dialog_service.errors import UserError
from dialog_service.serving import processes
from dialog_service.serving.settings import Settings

# Notes how it was started and every order, and acts on its number and on how often it has run.
CHILD = """
import json, os, sys
from pathlib import Path

def say(**report):
    os.write(1, (json.dumps({"metrics": None, "error": None} | report) + "\\n").encode())

settings = json.loads(sys.stdin.buffer.raw.readline())
port = int(settings["metrics_address"].rpartition(":")[2])
notes = Path(sys.argv[1]) / str(port)
runs = len(notes.read_text().split("run")) if notes.exists() else 1
with notes.open("a") as file:
    file.write(f"run {os.getpid()} of {settings['redis_url']}\\n")
    file.flush()
    BEHAVIOUR
    say(metrics=f"threads-{os.environ['OMP_NUM_THREADS']}:{port}")
    while number := os.read(0, 1):
        file.write(f"{number[0]}\\n")
        file.flush()
        if number[0] != 1 and not IS_STUBBORN:
            sys.exit(0)
    file.write("alone\\n")
"""


class Fleet:
    """Two of them under ``processes.run``; signals come to this process."""

    def __init__(self, notes: Path, behaviour: str = "pass", *, is_stubborn: bool = False) -> None:
        self.notes = notes
        program = CHILD.replace("BEHAVIOUR", behaviour).replace("IS_STUBBORN", str(is_stubborn))
        settings = Settings(
            processes=2,
            grpc_address="127.0.0.1:0",
            metrics_address="127.0.0.1:9000",
            redis_url="redis://there",
        )
        self.is_ready = asyncio.Event()
        self.figures: Sequence[str] = ()
        command = (sys.executable, "-c", program, str(notes))
        self.ended = asyncio.create_task(processes.run(settings, self._on_ready, command))

    def _on_ready(self, address: str, figures: Sequence[str]) -> None:
        assert int(address.removeprefix("127.0.0.1:")) > 0
        self.figures = figures
        self.is_ready.set()

    def noted(self, number: int) -> list[str]:
        """What one of them did."""
        file = self.notes / str(9000 + number)
        return file.read_text().splitlines() if file.exists() else []

    def pids(self, number: int) -> list[int]:
        return [int(line.split()[1]) for line in self.noted(number) if line.startswith("run")]

    async def until(self, number: int, *lines: str) -> None:
        async with asyncio.timeout(30):
            while self.noted(number)[-len(lines) :] != list(lines):
                await asyncio.sleep(0.01)

    async def until_runs(self, number: int, count: int) -> None:
        async with asyncio.timeout(30):
            while len(self.pids(number)) < count:
                await asyncio.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_all_are_ready_with_their_share_of_the_cores_and_a_port_for_figures_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(7)))
    fleet = Fleet(tmp_path)
    await fleet.is_ready.wait()
    assert fleet.figures == ["threads-3:9000", "threads-3:9001"]
    assert all(fleet.noted(number)[0].endswith("of redis://there") for number in (0, 1))
    os.kill(os.getpid(), signal.SIGTERM)
    assert await fleet.ended


async def test_threads_are_as_many_as_the_user_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    fleet = Fleet(tmp_path)
    await fleet.is_ready.wait()
    assert fleet.figures == ["threads-5:9000", "threads-5:9001"]
    os.kill(os.getpid(), signal.SIGINT)
    assert await fleet.ended


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_every_signal_reaches_all_as_what_it_is(tmp_path: Path, number: signal.Signals):
    fleet = Fleet(tmp_path)
    await fleet.is_ready.wait()
    os.kill(os.getpid(), signal.SIGHUP)
    for child in (0, 1):
        await fleet.until(child, "1")
    os.kill(os.getpid(), number)
    assert await fleet.ended
    assert [fleet.noted(child)[1:] for child in (0, 1)] == [["1", str(number.value)]] * 2


async def test_whoever_cannot_wait_says_so_again(tmp_path: Path):
    fleet = Fleet(tmp_path, is_stubborn=True)
    await fleet.is_ready.wait()
    os.kill(os.getpid(), signal.SIGTERM)
    for child in (0, 1):
        await fleet.until(child, "15")
    assert not fleet.ended.done()
    os.kill(os.getpid(), signal.SIGINT)
    assert not await fleet.ended
    assert not any(is_alive(pid) for child in (0, 1) for pid in fleet.pids(child))


async def test_a_signal_during_the_start_ends_it(tmp_path: Path):
    fleet = Fleet(tmp_path, "os.read(0, 1); sys.exit(0)")
    await asyncio.gather(*(fleet.until_runs(child, 1) for child in (0, 1)))
    os.kill(os.getpid(), signal.SIGTERM)
    assert await fleet.ended
    assert not fleet.is_ready.is_set()


@pytest.mark.parametrize(
    ("end", "said"),
    [
        ("port == 9000 and (say(error='no such model'), sys.exit(2))", "^no such model$"),
        ("port == 9000 and sys.exit(3)", "before it was ready: exit code 3$"),
        ("port == 9000 and os.kill(os.getpid(), 9)", "before it was ready: SIGKILL$"),
    ],
)
async def test_one_that_cannot_start_stops_the_start_of_all(tmp_path: Path, end: str, said: str):
    fleet = Fleet(tmp_path, end)
    with pytest.raises(UserError, match=said):
        await fleet.ended
    assert not fleet.is_ready.is_set()
    assert not any(is_alive(pid) for child in (0, 1) for pid in fleet.pids(child))


def pauses(caplog: pytest.LogCaptureFixture) -> list[float]:
    return [record.in_seconds for record in caplog.records if "ended" in record.message]


async def test_one_that_ends_is_started_again_ever_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(processes, "_FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(processes, "_LONGEST_PAUSE_SECONDS", 0.03)
    # It is killed when it has run once; then it cannot start; then it does not, twice.
    fails = "runs == 2 and (say(error='in use'), sys.exit(2)); runs in (3, 4) and sys.exit(runs)"
    fleet = Fleet(tmp_path, fails)
    await fleet.is_ready.wait()
    with caplog.at_level(logging.ERROR):
        os.kill(fleet.pids(1)[0], signal.SIGKILL)
        await fleet.until_runs(1, 5)
    assert len(fleet.pids(0)) == 1
    assert pauses(caplog) == [0.01, 0.02, 0.03, 0.03]
    said = [record.why for record in caplog.records]
    assert said[:2] == ["SIGKILL", "in use"]
    assert [each.rpartition(": ")[2] for each in said[2:]] == ["exit code 3", "exit code 4"]
    assert {record.replica for record in caplog.records} == {1}
    os.kill(os.getpid(), signal.SIGTERM)
    assert await fleet.ended


async def test_a_service_that_waits_to_start_one_again_ends_in_order(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(processes, "_FIRST_PAUSE_SECONDS", 60.0)
    fleet = Fleet(tmp_path)
    await fleet.is_ready.wait()
    with caplog.at_level(logging.ERROR):
        os.kill(fleet.pids(1)[0], signal.SIGKILL)
        async with asyncio.timeout(30):
            while not pauses(caplog):
                await asyncio.sleep(0.01)
    os.kill(os.getpid(), signal.SIGTERM)
    assert await fleet.ended
    await fleet.until(0, str(int(signal.SIGTERM)))


@pytest.mark.parametrize(("settled", "expected"), [(0.0, [0.01, 0.01]), (60.0, [0.01, 0.02])])
async def test_after_a_good_while_the_pause_is_a_short_one_again(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    settled: float,
    expected: list[float],
):
    monkeypatch.setattr(processes, "_FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(processes, "_SETTLED_SECONDS", settled)
    fleet = Fleet(tmp_path, "runs == 2 and (say(), sys.exit(0))")
    await fleet.is_ready.wait()
    with caplog.at_level(logging.ERROR):
        os.kill(fleet.pids(0)[0], signal.SIGTERM)
        await fleet.until_runs(0, 3)
    assert pauses(caplog) == expected
    os.kill(os.getpid(), signal.SIGTERM)
    assert await fleet.ended


def test_one_that_starts_several_brings_neither_torch_nor_grpc():
    code = "import json, sys, dialog_service.serving.processes; print(json.dumps([*sys.modules]))"
    done = subprocess.run((sys.executable, "-c", code), capture_output=True, text=True)
    assert not {"torch", "grpc", "redis"} & set(json.loads(done.stdout))
