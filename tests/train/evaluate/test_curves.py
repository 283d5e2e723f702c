"""Learning curves are those of the run that the checkpoint lies in."""

import json
from pathlib import Path

import pytest

from train.evaluate.curves import read_curves
from train.metrics.report import Curve
from train.run_folder import RunFolder
from train.run_log import EpochReport, LogStart, RunLog
from train.validation import Validation


@pytest.fixture
def logged(folder: RunFolder, found: Validation) -> RunFolder:
    """A run of two epochs, logged by the trainer's own log."""
    with RunLog(folder, LogStart(planned_steps=20)) as log:
        for epoch in (1, 2):
            log.close_epoch(
                EpochReport(
                    step=10 * epoch,
                    epoch=epoch,
                    epochs=2,
                    elapsed_seconds=1.0,
                    train={"loss": 9.0 / epoch, "nll": 8.0 / epoch},
                    validation=found,
                    is_best=True,
                    samples={"hello": ["there"]},
                )
            )
    folder.best.mkdir()
    return folder


def test_the_run_and_its_best_checkpoint_have_the_same_curves(logged: RunFolder):
    curves = {curve.name: curve for curve in read_curves(logged.best)}
    assert curves["train/loss"] == Curve(name="train/loss", steps=(10, 20), values=(9.0, 4.5))
    assert curves["validation/objective"].values == (4.0, 4.0)
    assert curves["validation/active_units"].steps == (10, 20)
    assert not {"train/epoch", "validation/elapsed_seconds"} & curves.keys()
    assert read_curves(logged.path) == tuple(curves.values())


def test_a_checkpoint_without_a_run_has_none(tmp_path: Path, logged: RunFolder):
    assert read_curves(tmp_path / "checkpoint") == ()
    (logged.path / "elsewhere").mkdir()
    assert read_curves(logged.path / "elsewhere") == ()


def test_a_link_to_the_best_checkpoint_is_followed(tmp_path: Path, logged: RunFolder):
    (tmp_path / "link").symlink_to(logged.best)
    assert read_curves(tmp_path / "link") == read_curves(logged.best)


@pytest.mark.parametrize(
    "line",
    ['{"kind": "train", "st', "[]", "null", '{"step": 3}', '{"kind": "train", "nll": 1}', ""],
)
def test_a_torn_line_is_left_out(logged: RunFolder, line: str):
    whole = read_curves(logged.best)
    with logged.log.open("a") as log:
        log.write(line)
    assert read_curves(logged.best) == whole


def test_values_that_are_no_numbers_are_left_out(logged: RunFolder):
    line = {"kind": "train", "step": 30, "loss": float("nan"), "nll": float("inf"), "name": "x"}
    whole = read_curves(logged.best)
    with logged.log.open("a") as log:
        log.write(json.dumps(line))
    assert read_curves(logged.best) == whole
