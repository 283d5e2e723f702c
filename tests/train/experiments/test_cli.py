"""The command line: one line for every mistake, and a toy table made, stopped and continued."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from train.experiments.cli import app
from train.state import load_state


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def one_line(result: Result) -> str:
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.stderr
    line = result.stderr.rstrip("\n").splitlines()[-1]
    assert line.startswith("error: ")
    return line


def test_help_teaches():
    result = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    assert result.exit_code == 0
    shown = " ".join(result.output.split())
    for taught in (
        "Stochastic WAE, Table 2",
        "Ctrl-C",
        "--budget-minutes",
        "--collect",
        "ablation:",
    ):
        assert taught in shown


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["snli"], "no table of 'snli': there is dailydialog, switchboard, ablation"),
        (["dailydialog", "--rows", "wae"], "dailydialog has ded, ved, wed_d, wed_s"),
        (["dailydialog", "--seeds", "a"], "--seeds 'a': expected whole numbers"),
        (["dailydialog", "--seeds", ""], "expected whole numbers below 2^32, e.g. 0,1,2"),
        (["dailydialog", "--seeds", "0,4294967296"], "expected whole numbers below 2^32, e.g."),
        (["dailydialog", "--pair-mode", "segments"], "--pair-mode is for switchboard"),
        (["dailydialog", "--jobs", "0"], "--jobs '0': expected auto or a number"),
        (["dailydialog", "--preset", "huge"], "--preset 'huge': allowed are small"),
        (["dailydialog", "--set", "optimisation.epoch=3"], "row ded: --set optimisation.epoch"),
        (["dailydialog", "--data-dir", "/nowhere"], "/nowhere: no such file or folder"),
        (["dailydialog"], "--data-dir or CORPORA_DIR"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, monkeypatch, flags: list[str], complaint: str):
    monkeypatch.chdir(tmp_path)
    rows = [] if "--rows" in flags else ["--rows", "ded"] if "dailydialog" in flags else []
    assert complaint in one_line(run(*flags, *rows))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("flag", "complaint"),
    [
        ("--no-bm26", "No such option"),
        ("--replies=x", "Invalid value for '--replies'"),
        ("--pair-mode=turns", "--pair-mode is for --corpus switchboard"),
        ("--candidates=0", "--candidates 0: must be 1 to 100"),
    ],
)
def test_a_mistake_in_what_evaluates_is_told_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flag: str, complaint: str
):
    monkeypatch.chdir(tmp_path)
    result = run("dailydialog", "--rows", "ded", f"--evaluate-with={flag}")
    assert result.exit_code == 2
    assert complaint in " ".join(result.stderr.split())
    assert list(tmp_path.iterdir()) == []


def test_a_table_of_nothing_is_no_table(tmp_path: Path):
    result = run("dailydialog", "--rows", "ded", "--output", tmp_path / "out", "--only-table")
    assert result.exit_code == 0
    assert "no row of 4 is finished: no table" in result.stderr
    assert list(tmp_path.iterdir()) == []


SIZES = (
    "model.embedding_dim=12",
    "model.encoder.hidden_size=10",
    "model.decoder.hidden_size=14",
    "data.vocabulary_size=200",
    "optimisation.batch_size=64",
    "optimisation.epochs=12",
)


@pytest.fixture
def flags(toy: Path, tmp_path: Path) -> list[str]:
    """A table of one row, on the toy corpus, whose training takes seconds."""
    sets = [flag for value in SIZES for flag in ("--set", value)]
    places = ["--data-dir", toy, "--output", tmp_path / "out", "--collect", tmp_path / "results"]
    device = ["--device", "cpu", "--precision", "fp32"]
    cheap = [f"--evaluate-with=--no-{part}" for part in ("relevance", "probes")]
    return list(map(str, ["switchboard", "--rows", "gru", *device, *sets, *cheap, *places]))


@pytest.fixture
def begun(flags: list[str], tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """The command, once its first epoch is in the log."""
    command = [sys.executable, "-m", "train.experiments", *flags]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    log = tmp_path / "out" / "gru-seed0" / "log.jsonl"
    while not (log.exists() and log.read_text()) and process.poll() is None:
        time.sleep(0.05)
    yield process
    process.terminate()  # and its child with it
    process.wait()


@pytest.mark.timeout(400)
def test_a_table_stopped_by_ctrl_c_is_continued(
    begun: subprocess.Popen[str], flags: list[str], tmp_path: Path
):
    begun.send_signal(signal.SIGINT)
    _, told = begun.communicate()
    assert begun.returncode == 130, told
    assert "stopped by SIGINT and saved; to continue: python -m train.experiments" in told
    folder = tmp_path / "out" / "gru-seed0"
    position = load_state(folder / "training").position
    assert not position.is_finished
    assert position.step > 0

    done = run(*flags)
    assert done.exit_code == 0, done.stderr
    assert "gru-seed0: resuming, 12 epochs" in done.stderr
    epochs = [json.loads(line)["epoch"] for line in (folder / "log.jsonl").read_text().splitlines()]
    assert epochs == [epoch for epoch in range(1, 13) for _ in ("train", "validation")]
    text = (tmp_path / "results" / "switchboard" / "table.md").read_text()
    assert re.search(r"\*\*GRU encoder-decoder\*\* \| own sampling \|.* \d+\.\d\d ±", text)
    assert "BM25 over training posts" in text
    (training,) = json.loads((tmp_path / "out" / "table.json").read_text())["trainings"]
    assert training["epochs"] == 12
    assert training["pairs_per_second"] > 10

    again = run(*flags)
    assert again.exit_code == 0
    assert "gru-seed0" not in again.stderr

    table = (tmp_path / "out" / "table.md").read_text()
    other = run(*flags, "--only-table", "--preset", "medium")
    assert "gru-seed0 was begun as" in one_line(other)
    assert (tmp_path / "out" / "table.md").read_text() == table
