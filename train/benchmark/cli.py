"""Flags of the benchmark -> what is measured, and how long."""

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from dialog_service.errors import ConfigError, UserError
from train.benchmark.benchmark import Plan, run_benchmark
from train.benchmark.figures import Benchmark
from train.benchmark.lengths import SYNTHETIC, Lengths, corpus_lengths
from train.benchmark.measurement import Effort
from train.benchmark.tables import show
from train.benchmark.workbench import Case
from train.config import RunConfig
from train.data.batches import TokenisedPairs
from train.data.corpora import CorpusSource
from train.data.examples import load_examples
from train.overrides import overridden
from train.presets import PRESETS, preset_named
from train.run_inputs import make_inputs
from train.variants import VARIANTS

_HELP = f"""Measure a training step: pairs/s, tokens/s, FLOP/s, memory, and how they grow.

    python -m train.benchmark --variant wed_s --preset small

FLOP are those of the matrix products that the real tokens need, forward and backward. The ceiling
of each operator is those products alone, same shapes and type, measured in the same rounds.

No corpus is needed: pairs are random, as long as those of --corpus ({", ".join(SYNTHETIC)}).
With --data-dir they are the corpus's own. The folder --output gets benchmark.json.
"""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command(help=_HELP)
def benchmark(
    variant: Annotated[str, typer.Option(help=f"One of {', '.join(VARIANTS)}.")] = "wed_s",
    preset: Annotated[str, typer.Option(help=f"One of {', '.join(PRESETS)}.")] = "small",
    corpus: Annotated[
        str | None,
        typer.Option(
            help="Whose lengths, or with --data-dir whose pairs, to train on.",
            show_default="dailydialog",
        ),
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Where the corpus is; without it, pairs are synthetic.")
    ] = None,
    pairs: Annotated[
        int | None,
        typer.Option(min=2, help="Synthetic pairs.", show_default="as many as the corpus has"),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 ...")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32 or bf16.")] = "auto",
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads.", show_default="torch's choice")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of pairs and model.")] = 0,
    seconds: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="To measure each thing for, three times at least.",
            show_default="15, 1 with --quick",
        ),
    ] = None,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help="A rough idea: a second each, operators on one batch, no growth unless asked.",
        ),
    ] = False,
    growth: Annotated[
        bool | None,
        typer.Option(help="Tables of growth.", show_default="on, off with --quick"),
    ] = None,
    against_plain: Annotated[
        bool, typer.Option(help="Also a step of the library's plain building blocks.")
    ] = False,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Change one value of the config."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(show_default="runs/benchmark-<time>", help="A folder.")
    ] = None,
) -> None:
    """Parse, run, and end a user's mistake with one line and exit code 2."""
    console = Console(stderr=True)
    try:
        assignments = [f"seed={seed}", *([f"data.corpus={corpus}"] if corpus else [])]
        config = _config(variant, preset, [*assignments, *(set_ or [])])
        folder = _folder(output)
        case, real = _case(config, data_dir, pairs)
        case = case.on(device=device, precision=precision, threads=threads)
        plan = Plan(
            effort=Effort(_seconds_each(seconds, quick)),
            roofline_batches=1 if quick else 3,
            has_growth=growth if growth is not None else not quick,
            is_against_plain=against_plain,
        )
        found = run_benchmark(case, plan, console, real)
        path = _written(found, folder)
    except UserError as error:
        console.print(f"error: {error}", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(2) from error
    show(found, Console(highlight=False))
    console.print(f"written to {path}", markup=False, highlight=False, soft_wrap=True)


def _config(variant: str, preset: str, assignments: list[str]) -> RunConfig:
    if variant not in VARIANTS:
        raise ConfigError(f"--variant {variant!r}: allowed are {', '.join(VARIANTS)}")
    return overridden(VARIANTS[variant](preset_named(preset)), assignments)


def _seconds_each(seconds: float | None, quick: bool) -> float:
    if seconds is not None:
        return seconds
    return 1.0 if quick else 15.0


def _case(
    config: RunConfig, data_dir: Path | None, pairs: int | None
) -> tuple[Case, TokenisedPairs | None]:
    """What to measure, and its pairs if they are real."""
    data = config.data
    if data_dir is None:
        lengths = corpus_lengths(data.corpus, data.vocabulary_mode, data.examples.pair_mode)
        return Case(config=config, lengths=lengths, pairs=pairs or lengths.pairs), None
    if pairs is not None:
        raise ConfigError("--pairs is for synthetic pairs; with --data-dir they are the corpus's")
    source = CorpusSource(corpus=data.corpus, data_dir=data_dir)
    inputs = make_inputs(config, load_examples(source, data.examples))
    fitted = overridden(config, [f"data.vocabulary_size={len(inputs.vocabulary)}"])
    real = inputs.train
    return Case(config=fitted, lengths=Lengths.of(real), pairs=len(real)), real


def _folder(output: Path | None) -> Path:
    folder = output or Path("runs") / f"benchmark-{time.strftime('%Y%m%d-%H%M%S')}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--output {folder}: {error.strerror}") from error
    return folder


def _written(found: Benchmark, folder: Path) -> Path:
    path = folder / "benchmark.json"
    try:
        path.write_text(found.model_dump_json(indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--output {path}: {error.strerror}") from error
    return path
