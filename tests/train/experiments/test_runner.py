"""Rows together: failures, signals, side by side."""

import signal
import threading
import time

import pytest
from rich.console import Console

from train.experiments import runner
from train.experiments.children import CommandFailed, Stopped
from train.experiments.runner import Effort, Ending, automatic_jobs, run_all

QUIET = Console(quiet=True)


def test_a_failed_row_does_not_stop_the_others(make_request, monkeypatch: pytest.MonkeyPatch):
    done, written = [], []

    def run_row(run, tools):
        if run.row.key == "ved":
            raise CommandFailed("error: diverged (log)")
        done.append(run.name)

    monkeypatch.setattr(runner, "run_row", run_row)
    runs = make_request(seeds=(0, 1)).runs()
    ending = run_all(runs, Effort(jobs=1), QUIET, lambda: written.append(len(done)))
    assert done == [f"{key}-seed{seed}" for seed in (0, 1) for key in ("ded", "wed_d", "wed_s")]
    assert ending.failures == dict.fromkeys(("ved-seed0", "ved-seed1"), "error: diverged (log)")
    assert written == [1, 2, 3, 4, 5, 6]
    assert ending.exit_code == 1


def test_rows_run_side_by_side(make_request, monkeypatch: pytest.MonkeyPatch):
    together = threading.Barrier(2, timeout=30)
    monkeypatch.setattr(runner, "run_row", lambda run, tools: together.wait())
    runs = make_request("ded,wed_d").runs()
    assert run_all(runs, Effort(jobs=2), QUIET, bool).exit_code == 0


def test_a_signal_stops_the_row_under_way_and_starts_no_other(
    make_request, monkeypatch: pytest.MonkeyPatch
):
    begun = []

    def run_row(run, tools):
        if tools.children.is_stopping:
            raise Stopped
        begun.append(run.name)
        signal.raise_signal(signal.SIGINT)
        for _ in range(3000):  # the main thread handles the signal meanwhile
            if not tools.children.is_stopping:
                time.sleep(0.01)
        assert tools.children.is_stopping
        raise Stopped

    monkeypatch.setattr(runner, "run_row", run_row)
    ending = run_all(make_request().runs(), Effort(jobs=1), QUIET, bool)
    assert begun == ["ded-seed0"]
    assert ending == Ending(stopped_by=signal.SIGINT, failures={})
    assert ending.exit_code == 130


def test_every_row_that_ends_leaves_the_budget(make_request, monkeypatch: pytest.MonkeyPatch):
    shares = []
    monkeypatch.setattr(runner, "run_row", lambda run, tools: shares.append(tools.budget.share()))
    run_all(make_request().runs(), Effort(jobs=1, budget_seconds=1200), QUIET, bool)
    assert shares == pytest.approx([300, 400, 600, 1200], rel=0.01)


def test_a_row_for_each_core_or_several_on_a_gpu(make_request, monkeypatch: pytest.MonkeyPatch):
    request = make_request(seeds=(0, 1, 2))
    monkeypatch.setattr(runner, "usable_cores", lambda: 2)
    assert automatic_jobs(request) == 2
    monkeypatch.setattr(runner, "usable_cores", lambda: 16)
    assert automatic_jobs(request) == runner.MOST_JOBS_ON_CPU
    assert automatic_jobs(make_request("ded")) == 1
    monkeypatch.setattr(runner, "uses_cuda", lambda device: True)
    assert automatic_jobs(request) == runner.MOST_JOBS
    assert automatic_jobs(make_request("ded,wed_d")) == 2


def test_cores_are_divided_among_rows_unless_said(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(runner, "usable_cores", lambda: 16)
    assert runner._environment(4)["OMP_NUM_THREADS"] == "4"
    assert "OMP_NUM_THREADS" not in runner._environment(1)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert runner._environment(4)["OMP_NUM_THREADS"] == "1"
