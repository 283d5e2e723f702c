"""What is shown of a run and what is kept of it."""

import json
import resource
import time
from dataclasses import replace
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dialog_service.errors import ConfigError
from train.run_folder import RunFolder
from train.run_log import EpochReport, LogStart, Progressed, RunLog
from train.validation import Validation

START = LogStart(planned_steps=40)


def report(found: Validation, epoch: int = 1, nll: float = 3.5) -> EpochReport:
    return EpochReport(
        step=10 * epoch,
        epoch=epoch,
        epochs=4,
        elapsed_seconds=1.234,
        train={"nll": nll},
        validation=found,
        is_best=epoch == 1,
        samples={"Hello?": ["Hi.", "Yes?"]},
    )


def now(step: int) -> Progressed:
    return Progressed(step=step, epoch="1/4", figures={"nll": 2.5}, pairs_per_second=1234.4)


def lines(folder: RunFolder) -> list[dict[str, object]]:
    return [json.loads(line) for line in folder.log.read_text().splitlines()]


def test_an_epoch_is_two_lines_of_figures(folder: RunFolder, found: Validation):
    with RunLog(folder, START) as log:
        log.close_epoch(report(found))
    assert lines(folder) == [
        {"kind": "train", "step": 10, "epoch": 1, "nll": 3.5},
        {
            "kind": "validation",
            "step": 10,
            "epoch": 1,
            **found.figures(),
            "elapsed_seconds": 1.2,
            "samples": {"Hello?": ["Hi.", "Yes?"]},
        },
    ]


def test_a_person_sees_figures_the_best_and_replies(
    folder: RunFolder, found: Validation, capfd: pytest.CaptureFixture[str]
):
    with RunLog(folder, START) as log:
        log.close_epoch(report(found))
        log.close_epoch(report(found, epoch=2))
    shown = capfd.readouterr().err
    assert "epoch 1/4 (best): objective 4.000  nll 3.000" in shown
    assert "epoch 2/4: objective" in shown
    assert "Hello?  ->  Hi.  |  Yes?" in shown
    assert "warning" not in shown


def test_a_mute_latent_is_warned_about(
    folder: RunFolder, found: Validation, capfd: pytest.CaptureFixture[str]
):
    with RunLog(folder, START) as log:
        log.close_epoch(report(replace(found, active_units=0, channel_nats=0.25)))
    shown = capfd.readouterr().err
    assert "warning: the latent has stopped carrying the post: 0 active units" in shown
    assert "at most 0.25 nats reach the decoder" in shown


def test_without_a_terminal_a_line_every_half_minute(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    seconds = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: seconds[0])
    with RunLog(folder, START) as log:
        for step in range(1, 40):
            seconds[0] += 2
            log.advance(now(step))
    shown = capfd.readouterr().err.splitlines()
    assert [line.partition("(")[0] for line in shown] == [
        "epoch 1/4  step 1 of 40 ",
        "epoch 1/4  step 16 of 40 ",
        "epoch 1/4  step 31 of 40 ",
    ]
    assert "(40%)  nll 2.500  1,234 pairs/s" in shown[1]
    assert shown[1].endswith(" left")


def test_on_a_terminal_a_bar(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "70")
    with RunLog(folder, replace(START, steps=10)) as log:
        log.advance(now(20))
    shown = capfd.readouterr().err
    assert "━" in shown
    assert "50%" in shown
    assert "epoch 1/4" in shown
    assert "1,234 pairs/s" in shown
    assert "nll 2.500" in shown
    assert "step 20 of" not in shown


def test_a_silent_log_writes_nothing(
    folder: RunFolder, found: Validation, capfd: pytest.CaptureFixture[str]
):
    with RunLog(folder, START, is_silent=True) as log:
        log.advance(now(1))
        log.say("words")
        log.warn("words")
    assert capfd.readouterr().err == ""
    assert list(folder.path.iterdir()) == []


def logged_twice(folder: RunFolder, found: Validation) -> None:
    """Two epochs; then the second again, after a kill in the middle of a line."""
    with RunLog(folder, START) as log:
        log.close_epoch(report(found))
        log.close_epoch(report(found, epoch=2, nll=9.0))
    with folder.log.open("a") as file:
        file.write('{"kind": "train", "st')
    again = LogStart(planned_steps=40, steps=13, closed_epochs=1, closed_steps=10)
    with RunLog(folder, again) as log:
        log.close_epoch(report(found, epoch=2, nll=8.0))


def test_a_resumed_log_holds_every_epoch_once(folder: RunFolder, found: Validation):
    logged_twice(folder, found)
    kept = [(line["kind"], line["epoch"], line["nll"]) for line in lines(folder)]
    assert kept == [
        ("train", 1, 3.5),
        ("validation", 1, 3.0),
        ("train", 2, 8.0),
        ("validation", 2, 3.0),
    ]


def test_curves_forget_what_is_trained_again(folder: RunFolder, found: Validation):
    logged_twice(folder, found)
    board = EventAccumulator(str(folder.board), purge_orphaned_data=True).Reload()
    scalars = [(event.step, event.value) for event in board.Scalars("train/nll")]
    assert scalars == [(10, 3.5), (20, 8.0)]


def log_on_a_full_disk(folder: RunFolder, found: Validation) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with RunLog(folder, START) as log:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))  # stands in for it
            log.close_epoch(report(found))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_full_disk_is_one_line_that_names_the_log(folder: RunFolder, found: Validation):
    with pytest.raises(ConfigError, match="cannot write the log: File too large") as caught:
        log_on_a_full_disk(folder, found)
    assert str(folder.log) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"missing/log\.jsonl: cannot write the log: No such"):
        RunLog(RunFolder(tmp_path / "missing"), START)
