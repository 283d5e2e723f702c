"""The one command line of every ``python -m train.<variant>``: flags -> config -> fit."""

import functools
import inspect
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console

from dialog_service.errors import ConfigError, UserError
from train.config import RunConfig
from train.data.corpora import CorpusSource
from train.data.examples import Examples, PairMode, load_examples
from train.launch import launched
from train.overrides import differences, overridden
from train.presets import PRESETS, preset_named
from train.run_folder import RunFolder
from train.run_inputs import make_inputs
from train.trainer import FitResult, fit
from train.variants import Variant

_EPILOG = """
Without flags: the small preset on DailyDialog from CORPORA_DIR, minutes on two cores. The run's
folder holds best/ (the checkpoint: dialog-service serve --model FOLDER), training/ (what
--resume continues from), run.json (the config, whose paths --set takes), log.jsonl and
tensorboard/. Ctrl-C or SIGTERM saves and stops; a second one stops without saving. On several GPUs:
torchrun --nproc-per-node 4 -m train.wed ...
"""
_TOO_LITTLE_MEMORY = (
    "the GPU's memory is too small; train on fewer pairs at once (--set "
    "optimisation.batch_size=N), with a smaller --preset, on another --device, or when fewer "
    "programs use it"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """What every training command takes."""

    corpus: Annotated[
        str | None,
        typer.Option(help="dailydialog, switchboard or jsonl.", show_default="dailydialog"),
    ] = None
    data_dir: Annotated[
        Path | None,
        typer.Option(
            help="The corpus's folder or zip, or the folder that holds it.",
            envvar="CORPORA_DIR",
        ),
    ] = None
    pair_mode: Annotated[
        PairMode | None,
        typer.Option(
            help="adjacent utterances; turns, a speaker's utterances in a row as one; or, as in "
            "the Coupled-VAE paper, segments.",
            show_default="turns on switchboard, else adjacent",
        ),
    ] = None
    output: Annotated[
        Path | None,
        typer.Option(help="The run's folder.", show_default="runs/<name>-<time>"),
    ] = None
    preset: Annotated[
        str | None,
        typer.Option(help=f"How large and how long: {', '.join(PRESETS)}.", show_default="small"),
    ] = None
    seed: Annotated[
        int | None,
        typer.Option(min=0, max=2**32 - 1, help="Fixes every random choice.", show_default="0"),
    ] = None
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 ...")] = "auto"
    precision: Annotated[
        str, typer.Option(help="auto, fp32 or bf16; auto is bf16 where the hardware has it.")
    ] = "auto"
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Continue the run in --output as if never interrupted."),
    ] = False
    keep_leaks: Annotated[
        bool,
        typer.Option(
            "--keep-leaks", help="Keep training dialogues that repeat an evaluation dialogue."
        ),
    ] = False
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="PATH=VALUE",
            help="Change one value of the config, e.g. optimisation.epochs=3, "
            "objective.terms.mmd.weight=3 or model.encoder.hidden_size=64; a wrong path is "
            "answered with the right ones. May be given several times.",
        ),
    ] = None


@dataclass(frozen=True, slots=True)
class Choice:
    """What a command trains: a variant, and what flags of its own say, as ``--set`` would."""

    variant: Variant
    assignments: tuple[str, ...] = ()


def command(choose: Callable[..., Choice], description: str) -> typer.Typer:
    """A program from a function that chooses what to train from flags of its own.

    The program takes ``choose``'s parameters and every field of ``Flags``. A user's mistake ends
    it with one line and exit code 2, a signal with 128 + its number.
    """
    shared = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            annotation=field.type,
            default=field.default,
        )
        for field in fields(Flags)
    ]
    own = list(inspect.signature(choose).parameters.values())

    @functools.wraps(choose)
    def program(**values: Any) -> None:
        given = {parameter.name: values.pop(parameter.name) for parameter in own}
        try:
            code = run(choose(**given), Flags(**values))
        except UserError as error:
            typer.echo(f"error: {error}", err=True)
            code = 2
        except torch.OutOfMemoryError as error:
            typer.echo(f"error: {_TOO_LITTLE_MEMORY} ({str(error).partition('. ')[0]})", err=True)
            code = 2
        except KeyboardInterrupt:
            typer.echo("stopped before the first step: nothing to resume", err=True)
            code = 128 + signal.SIGINT
        raise typer.Exit(code)

    program.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(help=description, epilog=" ".join(_EPILOG.split()))(program)
    return app


def run(choice: Choice, flags: Flags) -> int:
    """Train what was chosen as the flags say; the exit code.

    Raises:
        UserError: anything the user can mend.
    """
    config = _resumed_config(choice, flags) if flags.resume else _new_config(choice, flags)
    fabric = launched(flags.device, flags.precision)
    folder = RunFolder(flags.output or _default_output(config))
    if fabric.is_global_zero and not flags.resume:
        folder.refuse_overwriting()
    console = Console(stderr=True, quiet=not fabric.is_global_zero, emoji=False)
    say = functools.partial(console.print, markup=False, highlight=False, soft_wrap=True)
    source = CorpusSource(corpus=config.data.corpus, data_dir=flags.data_dir)
    examples = load_examples(source, config.data.examples)
    say(_summary(examples))
    inputs = make_inputs(config, examples)
    if fabric.is_global_zero and not flags.resume:
        folder.begin(config, inputs.config)
    fabric.barrier()
    say(f"{config.variant} {config.preset} on {config.data.corpus} -> {folder.path}")
    result = fit(inputs, fabric, folder, resume=flags.resume)
    say(_outcome(result, folder))
    return 128 + result.interrupted_by if result.interrupted_by else 0


def _default_output(config: RunConfig) -> Path:
    return Path("runs") / f"{config.variant}-{time.strftime('%Y%m%d-%H%M%S')}"


def _summary(examples: Examples) -> str:
    """One line: what is trained on, what was left out and why."""
    report = examples.report
    return (
        f"{report.corpus}: {report.train.kept:,} training pairs "
        f"({report.train.leaked_dialogs:,} dialogues left out that repeat an evaluation dialogue), "
        f"{report.validation.kept:,} validation pairs of {report.validation.pairs:,} "
        f"(the others occur in training), {len(report.skipped):,} lines skipped"
    )


def _outcome(result: FitResult, folder: RunFolder) -> str:
    if result.interrupted_by:
        return (
            f"stopped by {result.interrupted_by.name} and saved; to continue, repeat the command "
            f"with --resume --output {folder.path}"
        )
    kept = "" if result.kept_epoch == result.best_epoch else f"epoch {result.kept_epoch} is kept; "
    return (
        f"done after epoch {result.epochs}; the best was epoch {result.best_epoch}, objective "
        f"{result.best_metric:.3f}; {kept}serve it: dialog-service serve --model {folder.path}"
    )


def _new_config(choice: Choice, flags: Flags) -> RunConfig:
    config = choice.variant(preset_named(flags.preset or "small"))
    return overridden(config, _assignments(choice, flags))


def _resumed_config(choice: Choice, flags: Flags) -> RunConfig:
    """The config of the run in the output folder, which no flag may contradict."""
    if flags.output is None:
        raise ConfigError("--resume needs --output, the folder of the run to continue")
    stored = RunFolder(flags.output).asked_config()
    asked_variant = choice.variant(preset_named(flags.preset or stored.preset))
    for what, asked, begun in (
        ("a run of", asked_variant.variant, stored.variant),
        ("--preset", asked_variant.preset, stored.preset),
    ):
        if asked != begun:
            raise ConfigError(f"--resume: {flags.output} holds {what} {begun}, not {asked}")
    changed = differences(stored, overridden(stored, _assignments(choice, flags)))
    if changed:
        raise ConfigError(
            f"--resume: {flags.output} was begun with other values: {'; '.join(changed)}"
        )
    return stored


def _assignments(choice: Choice, flags: Flags) -> list[str]:
    """Every flag that is a value of the config, as ``--set`` would say it."""
    said = {
        "data.corpus": flags.corpus,
        "data.examples.pair_mode": flags.pair_mode,
        "seed": flags.seed,
    }
    assignments = [f"{path}={value}" for path, value in said.items() if value is not None]
    assignments += ["data.examples.keep_leaks=true"] if flags.keep_leaks else []
    return [*assignments, *choice.assignments, *(flags.set_ or [])]
