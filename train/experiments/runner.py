"""All rows of a table, some at a time; one that fails does not stop the others."""

import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace

from rich.console import Console

from dialog_service.errors import UserError
from train.data.examples import ExampleOptions
from train.experiments.board import Board
from train.experiments.budget import Budget
from train.experiments.children import POLL_SECONDS, Children, CommandFailed, Stopped
from train.experiments.machine import usable_cores, uses_cuda
from train.experiments.request import Request, Run
from train.experiments.row_job import Tools, run_row
from train.interruption import stop_requests

_DONE = threading.Lock()
MOST_JOBS = 4  # on one GPU: beyond this the rows only slow each other down
MOST_JOBS_ON_CPU = 8  # each of them holds a gigabyte or so


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How many rows at a time, and how long all of them may take; None is as long as needed."""

    jobs: int
    budget_seconds: float | None = None
    training_pairs: Mapping[ExampleOptions, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How it ended: the signal that stopped it, if one did, and the rows that failed, with why."""

    stopped_by: signal.Signals | None
    failures: dict[str, str]

    @property
    def exit_code(self) -> int:
        """128 + the signal, 1 after a failure, else 0."""
        if self.stopped_by:
            return 128 + self.stopped_by
        return 1 if self.failures else 0


def automatic_jobs(request: Request) -> int:
    """Rows side by side: on a GPU, which one small model does not fill, and on a CPU.

    Two trainings of a thread each do more than one of two, whose threads wait for each other.
    """
    rows = len(request.runs())
    if not uses_cuda(request.place.device):
        return max(1, min(MOST_JOBS_ON_CPU, usable_cores(), rows))
    return max(1, min(MOST_JOBS, usable_cores() // 2, rows))


def run_all(
    runs: Sequence[Run], effort: Effort, console: Console, row_done: Callable[[], object]
) -> Ending:
    """Do what is left of every run.

    Args:
        runs: none of them finished.
        effort: how many at a time and how long.
        console: for a line per row.
        row_done: called whenever a row has been finished, from any thread, one call at a time.
    """
    with stop_requests() as asked, Board(console, [run.name for run in runs]) as board:
        tools = Tools(
            children=Children(lambda: asked.caught, _environment(effort.jobs)),
            board=board,
            training_pairs=effort.training_pairs,
        )
        if effort.budget_seconds is not None:
            budget = Budget(effort.budget_seconds, rows=len(runs), jobs=effort.jobs)
            tools = replace(tools, budget=budget)
        with ThreadPoolExecutor(effort.jobs) as pool:
            futures = [pool.submit(_one, run, tools, row_done) for run in runs]
            while wait(futures, timeout=POLL_SECONDS).not_done:
                pass  # signals are handled between two waits, whichever thread they came to
        reasons = [future.result() for future in futures]
        failures = {run.name: why for run, why in zip(runs, reasons, strict=True) if why}
        return Ending(stopped_by=asked.caught, failures=failures)


def _one(run: Run, tools: Tools, row_done: Callable[[], object]) -> str:
    """Do a row; why it failed, or nothing."""
    failure = ""
    try:
        run_row(run, tools)
        tools.board.close(run.name, "done")
        with _DONE:
            row_done()
    except Stopped:
        tools.board.close(run.name, "stopped")
    except (CommandFailed, UserError, OSError) as error:
        failure = str(error)
        tools.board.close(run.name, f"failed: {failure}")
    if tools.budget:
        tools.budget.row_ended()
    return failure


def _environment(jobs: int) -> dict[str, str]:
    """This process's, its cores divided among the children unless it already says how many."""
    shared = {"OMP_NUM_THREADS": str(max(1, usable_cores() // jobs))} if jobs > 1 else {}
    return {**shared, **os.environ, "PYTHONUNBUFFERED": "1"}
