"""One row from where it stands to its reports: train or resume, then evaluate what is not yet."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from train.data.examples import ExampleOptions
from train.experiments.board import Board
from train.experiments.budget import Budget, Plan, measured_speed, planned
from train.experiments.children import Children
from train.experiments.experiment import Section
from train.experiments.machine import this_machine
from train.experiments.request import Run
from train.experiments.row_folder import RowFolder, RowRecord

LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What all rows work with; a ``budget`` needs the pairs there are by each row's options."""

    children: Children
    board: Board
    budget: Budget | None = None
    training_pairs: Mapping[ExampleOptions, int] = field(default_factory=dict)
    clock: Callable[[], float] = field(default=time.monotonic)


def run_row(run: Run, tools: Tools) -> None:
    """Do what is left of a row.

    Raises:
        Stopped: a signal came; what was trained is saved.
        CommandFailed: training or evaluation failed.
    """
    if not run.folder.is_trained():
        _train(run, tools)
    for section in run.request.experiment.sections:
        if not run.folder.is_evaluated(section.split, run.evaluation_asked(section)):
            _evaluate(run, section, tools)


def is_finished(run: Run) -> bool:
    """Whether ``run_row`` would have nothing to do."""
    return run.folder.is_trained() and all(
        run.folder.is_evaluated(section.split, run.evaluation_asked(section))
        for section in run.request.experiment.sections
    )


def _train(run: Run, tools: Tools) -> None:
    folder, record = run.folder, run.folder.record()
    is_begun = folder.has_state()
    if not is_begun:
        folder.forget_false_start()
        epochs = _budgeted_epochs(run, tools)
        record = RowRecord(
            arguments=run.asked, epochs=epochs, machines=(), config=run.fingerprint()
        )
    record = record or RowRecord(arguments=run.asked, epochs=None, machines=())
    folder.keep_record(_with_machine(record, run))
    more = ["--resume"] if is_begun else []
    if record.epochs:
        more += ["--set", f"optimisation.epochs={record.epochs}"]
    total = record.epochs or run.config().optimisation.epochs
    tools.board.tell(run.name, f"{'resuming' if is_begun else 'training'}, {total} epochs")
    tools.children.run(
        run.training(folder.path, *more),
        folder.path / "train.log",
        _Show(run, tools, total),
    )


def _budgeted_epochs(run: Run, tools: Tools) -> int | None:
    """The epochs that the time allows; None where it allows the config's, or is not limited."""
    if tools.budget is None:
        return None
    share, began = tools.budget.share(), tools.clock()
    tools.board.tell(run.name, "measuring how fast it trains")
    speed = measured_speed(run, tools.children)
    config = run.config()
    optimisation, pairs = config.optimisation, tools.training_pairs[config.data.examples]
    plan = planned(
        share - (tools.clock() - began),
        speed,
        steps_per_epoch=max(1, pairs // optimisation.batch_size),
        epochs=optimisation.epochs,
        evaluation_seconds=_slowest_evaluation(run),
    )
    tools.board.tell(run.name, _plan_told(plan, share))
    return plan.budgeted


def _plan_told(plan: Plan, share: float) -> str:
    told = f"{plan.epochs} of {plan.planned_epochs} epochs in its {share / 60:.1f} minutes"
    return f"{told}; even one takes longer" if plan.is_short_of_time else told


def _slowest_evaluation(run: Run) -> float:
    """Seconds that evaluating a row of this table has taken at most so far."""
    splits = [section.split for section in run.request.experiment.sections]
    folders = [RowFolder(path) for path in run.request.place.output.glob("*-seed*")]
    took = (sum(folder.evaluation_seconds(split) for split in splits) for folder in folders)
    return max(took, default=0.0)


def _with_machine(record: RowRecord, run: Run) -> RowRecord:
    machine = this_machine(run.request.place.device)
    if record.machines[-1:] == (machine,):
        return record
    return record.model_copy(update={"machines": (*record.machines, machine)})


def _evaluate(run: Run, section: Section, tools: Tools) -> None:
    tools.board.tell(run.name, f"evaluating, {section.split}")
    run.folder.forget_evaluation(section.split)
    began = tools.clock()
    log = run.folder.path / f"evaluate-{section.split}.log"
    tools.children.run(run.evaluation(section), log)
    run.folder.keep_evaluation(section.split, run.evaluation_asked(section), tools.clock() - began)


class _Show:
    """Looks at a run's log now and then and puts the newest epoch on the row's line."""

    def __init__(self, run: Run, tools: Tools, total: int) -> None:
        self._run = run
        self._tools = tools
        self._total = total
        self._looked_at = -LOOK_SECONDS

    def __call__(self) -> bool:
        """Never enough: a training runs to its end."""
        now = self._tools.clock()
        if now - self._looked_at >= LOOK_SECONDS:
            self._looked_at = now
            self._show(self._run.folder.epochs_logged())
        return False

    def _show(self, epochs: list[dict[str, float]]) -> None:
        if epochs:
            newest = epochs[-1]
            text = f"epoch {newest['epoch']}/{self._total}, nll {newest['nll']:.1f}"
            self._tools.board.advance(self._run.name, newest["epoch"], self._total, text)
