"""An interrupted run, continued in another process, is the run that was not interrupted."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from dialog_service.checkpoint import load_checkpoint
from train.run_folder import RunFolder
from train.state import TrainingState, load_state
from train.wed import app

# python -m train.wed, which gets a signal as it calls a function for the n-th time.
INTERRUPTED = """
import os, sys
import train.learner, train.trainer
owner, name, at, number = {owner}, "{name}", {at}, {number}
original, calls = getattr(owner, name), []
def counted(*given):
    calls.append(given)
    if len(calls) == at:
        os.kill(os.getpid(), number)
    return original(*given)
setattr(owner, name, counted)
from train.wed import app
app()
"""
STEP = {"owner": "train.learner.Learner", "name": "step"}
SAVE = {"owner": "train.trainer", "name": "save_state"}


def flags_of(tiny_flags: list[str], output: Path) -> list[str]:
    return ["--stochastic", *tiny_flags, "--output", str(output)]


def interrupted(
    tiny_flags: list[str], output: Path, number: signal.Signals, place: dict[str, str], at: int
) -> subprocess.CompletedProcess[str]:
    """A run in a process of its own that gets a signal at the given call of a place."""
    program = INTERRUPTED.format(**place, at=at, number=int(number))
    return subprocess.run(
        [sys.executable, "-c", program, *flags_of(tiny_flags, output)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def resume(tiny_flags: list[str], output: Path) -> None:
    result = CliRunner().invoke(app, [*flags_of(tiny_flags, output), "--resume"])
    assert result.exit_code == 0, result.output


@pytest.fixture(scope="module")
def uninterrupted(tiny_flags: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("uninterrupted") / "run"
    result = CliRunner().invoke(app, flags_of(tiny_flags, output))
    assert result.exit_code == 0, result.output
    return output


def log_of(folder: RunFolder) -> list[dict[str, object]]:
    """Every figure logged, but for the time it took."""
    lines = [json.loads(line) for line in folder.log.read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "elapsed_seconds"} for line in lines]


def assert_equal_states(one: TrainingState, other: TrainingState) -> None:
    for position in (one.position, other.position):
        position.elapsed_seconds = 0.0
    assert one.position == other.position
    assert one.parameters.keys() == other.parameters.keys()
    for name, value in one.parameters.items():
        assert torch.equal(value, other.parameters[name]), name
    assert torch.equal(one.random[0]["cpu"], other.random[0]["cpu"])
    assert one.optimiser["param_groups"] == other.optimiser["param_groups"]
    assert len(one.optimiser["state"]) == len(other.optimiser["state"]) > 0
    for index, moments in one.optimiser["state"].items():
        for name, value in moments.items():
            assert torch.equal(value, other.optimiser["state"][index][name]), (index, name)


def assert_same_run(one: Path, other: Path) -> None:
    """Parameters, optimiser, randomness, logged losses and best checkpoint, bit for bit."""
    first, second = RunFolder(one), RunFolder(other)
    assert_equal_states(load_state(first.training), load_state(second.training))
    assert log_of(first) == log_of(second)
    here = {"commit": "any"}  # of whoever works on the code meanwhile
    metas = [load_checkpoint(run.best).meta.model_copy(update=here) for run in (first, second)]
    assert metas[0] == metas[1]
    for file in ("config.json", "spm.model", "weights.safetensors"):
        assert (first.best / file).read_bytes() == (second.best / file).read_bytes(), file
    assert sorted(path.name for path in one.iterdir()) == sorted(
        path.name for path in other.iterdir()
    )


@pytest.mark.parametrize(
    ("number", "step", "exit_code"),
    [(signal.SIGTERM, 5, 143), (signal.SIGINT, 16, 130)],
    ids=["SIGTERM in the first epoch", "SIGINT in the second"],
)
def test_a_run_stopped_mid_epoch_continues_bit_for_bit(
    uninterrupted: Path,
    tiny_flags: list[str],
    tmp_path: Path,
    number: signal.Signals,
    step: int,
    exit_code: int,
):
    output = tmp_path / "run"
    stopped = interrupted(tiny_flags, output, number, STEP, step)
    assert stopped.returncode == exit_code, stopped.stderr
    assert "Traceback" not in stopped.stderr
    told = " ".join(stopped.stderr.split())
    assert f"stopped by {number.name} and saved" in told
    assert f"--resume --output {output}" in told
    position = load_state(output / "training").position
    assert (position.step, position.step_in_epoch) == (step, step % 11)
    resume(tiny_flags, output)
    assert_same_run(uninterrupted, output)


def test_so_does_one_in_bfloat16(tiny_flags: list[str], tmp_path: Path):
    """Compiled, where the processor has matrix units; by torch elsewhere."""
    narrow = [*tiny_flags, "--precision", "bf16"]
    whole, output = tmp_path / "whole", tmp_path / "run"
    done = CliRunner().invoke(app, flags_of(narrow, whole))
    assert done.exit_code == 0, done.output
    assert interrupted(narrow, output, signal.SIGTERM, STEP, 16).returncode == 143
    resume(narrow, output)
    assert_same_run(whole, output)
    assert "bf16-mixed" in load_state(output / "training").numerics


@pytest.mark.parametrize(
    ("place", "at", "step_kept"),
    [(STEP, 16, 11), (SAVE, 4, 22)],
    ids=["mid-epoch", "between best checkpoint and state"],
)
def test_a_killed_run_continues_from_its_last_state_to_the_same_end(
    uninterrupted: Path,
    tiny_flags: list[str],
    tmp_path: Path,
    place: dict[str, str],
    at: int,
    step_kept: int,
):
    output = tmp_path / "run"
    killed = interrupted(tiny_flags, output, signal.SIGKILL, place, at)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert load_state(output / "training").position.step == step_kept
    resume(tiny_flags, output)
    assert_same_run(uninterrupted, output)


def test_a_run_is_not_the_same_with_another_seed(
    uninterrupted: Path, tiny_flags: list[str], tmp_path: Path
):
    output = tmp_path / "run"
    CliRunner().invoke(app, [*flags_of(tiny_flags, output), "--seed", "1"])
    with pytest.raises(AssertionError):
        assert_same_run(uninterrupted, output)
