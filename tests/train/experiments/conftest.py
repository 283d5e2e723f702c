"""Requests on the toy corpus, folders as finished runs leave them, children that run nothing."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from train.experiments.board import Board
from train.experiments.children import CommandFailed
from train.experiments.experiment import Experiment
from train.experiments.request import Place, Request, Run
from train.experiments.row_folder import RowFolder, RowRecord
from train.experiments.row_job import Tools
from train.experiments.tables import DAILYDIALOG
from train.state import RunPosition, TrainingState, save_state

MakeRequest = Callable[..., Request]


@pytest.fixture
def make_request(tmp_path: Path, toy: Path) -> MakeRequest:
    """A request for rows of a table: ``make_request("ded,wed_s", seeds=(0, 1))``."""

    def make(
        rows: str | None = None,
        seeds: tuple[int, ...] = (0,),
        experiment: Experiment = DAILYDIALOG,
        **more: Any,
    ) -> Request:
        request = Request(
            experiment=experiment,
            rows=experiment.chosen(rows),
            seeds=seeds,
            preset="small",
            place=Place(output=tmp_path / "out", data_dir=toy, device="cpu", precision="fp32"),
        )
        return replace(request, **more)

    return make


@pytest.fixture
def ded(make_request: MakeRequest) -> Run:
    (run,) = make_request("ded").runs()
    return run


def leave_training(folder: RowFolder, *, is_finished: bool = True) -> None:
    """The state and the checkpoint that a training leaves."""
    position = RunPosition(step=40, elapsed_seconds=4.0, is_finished=is_finished)
    folder.path.mkdir(parents=True, exist_ok=True)
    state = TrainingState(position=position, parameters={}, optimiser={}, random=[])
    save_state(state, folder.training)
    folder.best.mkdir(exist_ok=True)
    (folder.best / "weights.safetensors").write_bytes(b"weights")


def leave_logs(run: Run, *, epochs: int, planned: int) -> None:
    """The documents a training leaves: 10 steps of 64 pairs and one second an epoch."""
    folder = run.folder
    folder.path.mkdir(parents=True, exist_ok=True)
    optimisation = {"epochs": planned, "batch_size": 64}
    config = {"variant": run.row.variant, "preset": "small", "seed": run.seed}
    (folder.path / "resolved.json").write_text(json.dumps({**config, "optimisation": optimisation}))
    lines = [
        {"kind": kind, "epoch": e, "step": 10 * e, "nll": 50.0 - e, "elapsed_seconds": float(e)}
        for e in range(1, epochs + 1)
        for kind in ("train", "validation")
    ]
    folder.log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    folder.best.mkdir(exist_ok=True)
    meta = {"commit": "abc123", "metrics": {"epoch": float(epochs)}}
    (folder.best / "meta.json").write_text(json.dumps(meta))


def report(
    *rows: tuple[str, str, dict[str, float]], health: dict[str, float] | None = None
) -> dict[str, Any]:
    """A report.json of (name, role, figures); every interval is one wide to either side."""

    def estimates(figures: dict[str, float]) -> dict[str, Any]:
        return {k: {"value": v, "low": v - 1, "high": v + 1} for k, v in figures.items()}

    return {
        "subject": "s",
        "notes": [],
        "rows": [
            {"name": name, "role": role, "figures": estimates(figures), "signature": {}}
            for name, role, figures in rows
        ],
        "health": {"kind": "exact", "figures": estimates(health)} if health else None,
    }


def leave_evaluations(run: Run, content: dict[str, Any]) -> None:
    for section in run.request.experiment.sections:
        folder = run.folder.evaluation(section.split)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.json").write_text(json.dumps(content))
        run.folder.keep_evaluation(section.split, run.evaluation_asked(section), 30.0)


def leave_all(run: Run, content: dict[str, Any], *, epochs: int = 8, planned: int = 8) -> None:
    """A finished row."""
    leave_training(run.folder)
    leave_logs(run, epochs=epochs, planned=planned)
    run.folder.keep_record(RowRecord(arguments=run.asked, epochs=None, machines=()))
    leave_evaluations(run, content)


class ScriptedChildren:
    """Stands in for the processes: keeps the commands, leaves what they would have left."""

    is_stopping = False

    def __init__(self, failing: str = "") -> None:
        self.commands: list[list[str]] = []
        self._failing = failing

    def run(self, command: Sequence[str], log: Path, watch: Callable[[], bool] = bool) -> None:
        self.commands.append(list(command))
        if self._failing and self._failing in command:
            raise CommandFailed(f"error: no {self._failing} ({log})")
        folder = RowFolder(Path(command[command.index("--output") + 1]))
        if "train.evaluate" in command:
            folder.path.mkdir(parents=True)
            (folder.path / "report.json").write_text(json.dumps(report()))
        else:
            leave_training(folder)

    def asked(self, word: str) -> list[str]:
        """What follows a word in each command, or an empty text."""
        return [c[c.index(word) + 1] if word in c else "" for c in self.commands]


@pytest.fixture
def children() -> ScriptedChildren:
    return ScriptedChildren()


@pytest.fixture
def make_tools(make_request: MakeRequest) -> Callable[..., Tools]:
    """Tools with a silent board for any row: ``make_tools(children, budget=...)``."""
    names = [run.name for run in make_request(seeds=(0, 1, 2)).runs()]

    def make(children: Any, **more: Any) -> Tools:
        return Tools(children=children, board=Board(Console(quiet=True), names), **more)

    return make
