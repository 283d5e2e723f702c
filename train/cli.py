"""The one command line of every ``python -m train.<variant>``: flags -> config -> fit."""

import functools
import inspect
import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import typer
from lightning_fabric import Fabric
from rich.console import Console

from dialog_service.checkpoint import CheckpointMeta
from dialog_service.errors import ConfigError, UserError
from dialog_service.generation import resolve_device, resolve_precision
from dialog_service.text import normalise
from dialog_service.vocabulary import Vocabulary
from train.config import RunConfig
from train.data.batches import tokenise
from train.data.corpora import CorpusSource
from train.data.examples import Examples, load_examples
from train.overrides import checked, overridden
from train.presets import PRESETS, preset_named
from train.trainer import RunInputs, fit
from train.variants import Variant

CONFIG = "run.json"
_PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """What every training command takes."""

    corpus: Annotated[
        str | None,
        typer.Option(help="dailydialog, switchboard or jsonl.", show_default="dailydialog"),
    ] = None
    data_dir: Annotated[
        Path | None,
        typer.Option(help="Where the corpus is.", envvar="CORPORA_DIR"),
    ] = None
    output: Annotated[
        Path | None,
        typer.Option(help="Where the run goes.", show_default="runs/<name>-<time>"),
    ] = None
    preset: Annotated[
        str | None,
        typer.Option(help=f"How large and how long: {', '.join(PRESETS)}.", show_default="small"),
    ] = None
    seed: Annotated[int | None, typer.Option(min=0, show_default="0")] = None
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 ...")] = "auto"
    precision: Annotated[
        str, typer.Option(help="auto, fp32 or bf16; auto is bf16 where the hardware has it.")
    ] = "auto"
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in --output, exactly.")
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
            help="Change one value of the config, e.g. optimisation.epochs=3 or "
            "objective.terms.mmd.weight=3. May be given several times.",
        ),
    ] = None


def command(choose: Callable[..., Variant], description: str) -> typer.Typer:
    """A program from a function that chooses the variant from flags of its own.

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
        chosen = choose(**{parameter.name: values.pop(parameter.name) for parameter in own})
        try:
            code = run(chosen, Flags(**values))
        except UserError as error:
            typer.echo(f"error: {error}", err=True)
            code = 2
        raise typer.Exit(code)

    program.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(help=description)(program)
    return app


def run(variant: Variant, flags: Flags) -> int:
    """Train one variant as the flags say; the exit code.

    Raises:
        UserError: anything the user can mend.
    """
    config = _config(variant, flags)
    output = flags.output or Path("runs") / f"{config.variant}-{time.strftime('%Y%m%d-%H%M%S')}"
    fabric = _fabric(flags)
    console = Console(stderr=True, quiet=not fabric.is_global_zero)
    say = functools.partial(console.print, markup=False, highlight=False, soft_wrap=True)
    source = CorpusSource(corpus=config.data.corpus, data_dir=flags.data_dir)
    examples = load_examples(source, config.data.examples)
    say(_summary(examples))
    inputs = _inputs(config, examples)
    _write_config(config, output, fabric)
    say(f"{config.variant} {config.preset} on {config.data.corpus} -> {output}")
    result = fit(inputs, fabric, output, resume=flags.resume)
    if result.interrupted_by:
        say(f"stopped by {result.interrupted_by.name}; continue with --resume --output {output}")
        return 128 + result.interrupted_by
    say(f"best epoch {result.best_epoch + 1}; serve it: dialog-service serve --model {output}")
    return 0


def _summary(examples: Examples) -> str:
    """One line: what is trained on, what was left out and why."""
    report = examples.report
    skipped = len(report.skipped)
    return (
        f"{report.corpus}: {report.train.kept:,} training pairs "
        f"({report.train.leaked_dialogs:,} dialogues left out that repeat an evaluation dialogue), "
        f"{report.validation.kept:,} validation pairs of {report.validation.pairs:,} "
        f"(the others occur in training), {skipped:,} lines skipped"
    )


def _config(variant: Variant, flags: Flags) -> RunConfig:
    stored = _stored_config(flags) if flags.resume else None
    preset = flags.preset or (stored.preset if stored else "small")
    config = variant(preset_named(preset))
    assignments = list(flags.set_ or [])
    for path, value in (("data.corpus", flags.corpus), ("seed", flags.seed)):
        assignments += [] if value is None else [f"{path}={value}"]
    assignments += ["data.examples.keep_leaks=true"] if flags.keep_leaks else []
    if stored is None:
        return overridden(config, assignments)
    if stored.variant != config.variant:
        raise ConfigError(f"--resume: {flags.output} holds a run of {stored.variant}")
    if overridden(stored, assignments) != stored:
        raise ConfigError(f"--resume: {flags.output} was begun with other values; leave them out")
    return stored


def _stored_config(flags: Flags) -> RunConfig:
    if flags.output is None:
        raise ConfigError("--resume needs --output, the folder of the run to continue")
    path = flags.output / CONFIG
    try:
        return checked(json.loads(path.read_text()))
    except OSError as error:
        raise ConfigError(f"--resume: {path}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"--resume: {path}: not a run's config: {error}") from error


def _fabric(flags: Flags) -> Fabric:
    """Device and precision as asked; data parallel where torchrun started us."""
    device = resolve_device(flags.device)
    precision = _PRECISIONS[resolve_precision(flags.precision, device)]
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_WORLD_SIZE", ranks))
    devices: int | list[int] = local if ranks > 1 or device.index is None else [device.index]
    fabric = Fabric(
        accelerator="cuda" if device.type == "cuda" else "cpu",
        devices=devices if ranks > 1 or isinstance(devices, list) else 1,
        num_nodes=max(1, ranks // local),
        strategy="ddp" if ranks > 1 else "auto",
        precision=precision,  # type: ignore[arg-type]
    )
    fabric.launch()
    return fabric


def _inputs(config: RunConfig, examples: Examples) -> RunInputs:
    """Vocabulary, fitted on training text alone, and token ids; the config made concrete."""
    texts = {normalise(text) for pair in examples.train for text in (*pair.context, pair.response)}
    vocabulary = Vocabulary.fit(
        sorted(texts), size=config.data.vocabulary_size, mode=config.data.vocabulary_mode
    )
    train = tokenise(examples.train, vocabulary, config.model)
    resolved = config.resolved(
        vocab_size=len(vocabulary), mean_target_tokens=train.mean_target_tokens
    )
    return RunInputs(
        config=resolved,
        vocabulary=vocabulary,
        train=train,
        validation=tokenise(examples.validation, vocabulary, config.model),
        meta=CheckpointMeta(
            variant=config.variant,
            preset=config.preset,
            corpus=config.data.corpus,
            seed=config.seed,
            commit=_commit(),
            data_fingerprint=examples.fingerprint,
        ),
        sample_posts=tuple(
            pair.context[-1]
            for pair in examples.validation[:: max(1, len(examples.validation) // 3)][:3]
        ),
    )


def _write_config(config: RunConfig, output: Path, fabric: Fabric) -> None:
    """Keep the config as asked for, before it is made concrete, so that a resume can compare."""
    if fabric.is_global_zero:
        try:
            output.mkdir(parents=True, exist_ok=True)
            (output / CONFIG).write_text(config.model_dump_json(indent=2) + "\n")
        except OSError as error:
            raise ConfigError(f"--output {output}: {error.strerror}") from error
    fabric.barrier()


def _commit() -> str:
    """The commit of the code that trains, marked if it differs; "unknown" outside a checkout."""
    told = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return told.stdout.strip() or "unknown"
