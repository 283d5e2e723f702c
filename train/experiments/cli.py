"""Flags of ``python -m train.experiments`` -> rows to train, their table, an exit code."""

import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from dialog_service.errors import ConfigError, UserError
from train.data.corpora import CorpusSource
from train.data.examples import ExampleOptions, load_examples
from train.data.pairs import PairMode
from train.evaluate.cli import refuse_wrong_flags
from train.experiments.collection import TABLE_MD, collect, write_table
from train.experiments.request import Place, Request, Run
from train.experiments.row_job import is_finished
from train.experiments.runner import Effort, Ending, automatic_jobs, run_all
from train.experiments.tables import EXPERIMENTS, experiment_named

_HELP = """Train and score a table, row by row, a paper's rows beside what it reports.

dailydialog: DED, VED, WED-D, WED-S (Stochastic WAE, Table 2).
switchboard: GRU, CVAE, Coupled-CVAE with four weights (Coupled-VAE, Table 8).
ablation: our own model on dailydialog, whole, and with one part taken away at a time.

The folder --output gets a run's folder for each row and seed, and table.md and table.json, written
anew whenever a row is finished. The same command again continues where it was: what is finished
stays, an interrupted training is resumed. Ctrl-C saves and stops.

    python -m train.experiments dailydialog --data-dir CORPORA --preset medium --seeds 0,1,2

    python -m train.experiments dailydialog --data-dir CORPORA --budget-minutes 120
"""

_NOTHING_DONE = Ending(stopped_by=None, failures={})

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command(help=_HELP)
def experiments(
    table: Annotated[str, typer.Argument(help=f"{', '.join(EXPERIMENTS)}.")],
    preset: Annotated[
        str, typer.Option(help="How large and how long, as for every training.")
    ] = "small",
    seeds: Annotated[str, typer.Option(help="Seeds, separated by commas.")] = "0",
    rows: Annotated[
        str | None,
        typer.Option(
            help="Rows to train, separated by commas; the table shows all that are finished.",
            show_default="all of the table",
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="A folder.", show_default="runs/experiments-<table>")
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Where the corpus is.", envvar="CORPORA_DIR")
    ] = None,
    pair_mode: Annotated[
        PairMode | None,
        typer.Option(
            help="What answers what in switchboard: turns, or segments as the paper has it.",
            show_default="turns",
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 ...")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32 or bf16.")] = "auto",
    jobs: Annotated[
        str,
        typer.Option(help="Rows at a time; auto is one a core, several sharing a GPU."),
    ] = "auto",
    budget_minutes: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            help="Train fewer epochs than the preset's where that is needed for all of this to "
            "take about so long; schedules complete all the same, and the table says so.",
            show_default="as long as it takes",
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="For every row's training."),
    ] = None,
    evaluate_with: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FLAG", help="For every row's evaluation, e.g. --evaluate-with=--no-bm25."
        ),
    ] = None,
    only_table: Annotated[
        bool, typer.Option("--only-table", help="Train nothing: the table of what is finished.")
    ] = False,
    collect_to: Annotated[
        Path | None,
        typer.Option(
            "--collect", help="Also copy table, configs, logs and reports to this folder."
        ),
    ] = None,
) -> None:
    """Parse, run, and end a user's mistake with one line and exit code 2."""
    console = Console(stderr=True, emoji=False)
    try:
        request = Request(
            experiment=(experiment := experiment_named(table)),
            rows=experiment.chosen(rows),
            seeds=_seeds(seeds),
            preset=preset,
            place=Place(
                output=output or Path("runs") / f"experiments-{table}",
                data_dir=data_dir,
                device=device,
                precision=precision,
            ),
            pair_mode=_checked_pair_mode(pair_mode, experiment.corpus),
            assignments=tuple(set_ or ()),
            evaluation_flags=tuple(evaluate_with or ()),
        )
        effort = Effort(
            jobs=_jobs(jobs, request),
            budget_seconds=None if budget_minutes is None else budget_minutes * 60,
        )
        for run in request.runs():
            run.refuse_other_values()
        for section in experiment.sections:
            refuse_wrong_flags(("best", *request.runs()[0].evaluation_asked(section)))
        ending = _NOTHING_DONE if only_table else _done(request, effort, console)
        _show(request, collect_to, console)
    except UserError as error:
        _say(console, f"error: {error}")
        raise typer.Exit(2) from error
    _say_ending(ending, request, console)
    raise typer.Exit(ending.exit_code)


def _seeds(text: str) -> tuple[int, ...]:
    """Different seeds in the order given.

    Raises:
        ConfigError: something that is no seed, or nothing.
    """
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words or not all(word.isdecimal() and int(word) < 2**32 for word in words):
        raise ConfigError(f"--seeds {text!r}: expected whole numbers below 2^32, e.g. 0,1,2")
    return tuple(dict.fromkeys(map(int, words)))


def _checked_pair_mode(mode: PairMode | None, corpus: str) -> PairMode | None:
    """Raises ConfigError where the corpus leaves no choice."""
    if mode is not None and corpus != "switchboard":
        raise ConfigError("--pair-mode is for switchboard")
    return mode


def _jobs(text: str, request: Request) -> int:
    """How many rows at a time.

    Raises:
        ConfigError: neither auto nor a number of at least one.
    """
    if text == "auto":
        return automatic_jobs(request)
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(f"--jobs {text!r}: expected auto or a number from 1 on")
    return int(text)


def _done(request: Request, effort: Effort, console: Console) -> Ending:
    """Do what is left of the rows, the table written anew after each.

    Raises:
        UserError: the corpus, a flag, or a folder that holds something else.
    """
    configs = [run.config() for run in request.runs()]
    with console.status("looking at what is finished"):
        left = [run for run in request.runs() if not is_finished(run)]
    if not left:
        return _NOTHING_DONE
    with console.status(f"reading {request.experiment.corpus}"):
        pairs = _training_pairs(request, {config.data.examples for config in configs})
    _say(console, f"{len(left)} of {len(configs)} rows to do, {effort.jobs} at a time")
    effort = replace(effort, training_pairs=pairs)
    return run_all(left, effort, console, lambda: _write(request))


def _training_pairs(request: Request, options: set[ExampleOptions]) -> dict[ExampleOptions, int]:
    """How many pairs there are to train on, by how they are made."""
    source = CorpusSource(corpus=request.experiment.corpus, data_dir=request.place.data_dir)
    return {each: len(load_examples(source, each).train) for each in options}


def _show(request: Request, collect_to: Path | None, console: Console) -> None:
    """Write the table, and copy it where asked.

    Raises:
        UserError: a file that cannot be read or written.
    """
    finished = _write(request)
    whole = _whole(request)
    if not finished:
        _say(console, f"no row of {len(whole.runs())} is finished: no table")
        return
    place = request.place.output / TABLE_MD
    _say(console, f"{len(finished)} of {len(whole.runs())} rows in {place}")
    if collect_to:
        _say(console, f"copied to {collect(whole, finished, collect_to)}")


def _write(request: Request) -> list[Run]:
    """The table of what is finished, if anything is; the runs in it."""
    whole = _whole(request)
    finished = [run for run in whole.runs() if run.is_as_asked() and is_finished(run)]
    if finished:
        write_table(whole, finished, request.place.output)
    return finished


def _whole(request: Request) -> Request:
    """The same with every row of the table: what was trained before stays in it."""
    return replace(request, rows=request.experiment.rows)


def _say_ending(ending: Ending, request: Request, console: Console) -> None:
    """One line on each failure and on how to go on."""
    for name, reason in ending.failures.items():
        _say(console, f"failed: {name}: {reason}")
    if ending.stopped_by:
        again = shlex.join(["python", "-m", "train.experiments", *sys.argv[1:]])
        _say(console, f"stopped by {ending.stopped_by.name} and saved; to continue: {again}")


def _say(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
