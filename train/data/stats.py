"""``python -m train.data stats``: what a corpus holds and what is left of it."""

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from dialog_service.errors import UserError
from train.data.corpora import CORPORA, CorpusSource, load_corpus
from train.data.dialogs import Corpus, Skip
from train.data.examples import ExampleOptions, ExamplesReport, PairMode, make_examples

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

_SHOWN_SKIPS = 5


@app.callback()
def data() -> None:
    """Look at corpora before training on them."""


@app.command()
def stats(
    corpus: Annotated[str, typer.Option(help=f"One of {', '.join(CORPORA)}.")] = "dailydialog",
    data_dir: Annotated[
        Path | None,
        typer.Option(
            help="The corpus's folder or zip, or the folder that holds it.", envvar="CORPORA_DIR"
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Count dialogues, pairs and pairs kept per split, and the lines that were skipped."""
    try:
        read = load_corpus(CorpusSource(corpus=corpus, data_dir=data_dir))
    except UserError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    reports = [make_examples(read, options).report for options in _options(read)]
    if as_json:
        typer.echo(json.dumps(_document(read, reports), indent=2))
    else:
        _show(read, reports)


def _options(corpus: Corpus) -> list[ExampleOptions]:
    """The corpus's own way to make pairs first; for Switchboard the papers' way, too."""
    own = ExampleOptions()
    return (
        [own, ExampleOptions(pair_mode=PairMode.SEGMENTS)]
        if corpus.name == "switchboard"
        else [own]
    )


def _document(corpus: Corpus, reports: list[ExamplesReport]) -> dict[str, Any]:
    own, *others = map(_pairing, reports)
    return {
        "corpus": corpus.name,
        "fingerprint": corpus.fingerprint,
        **own,
        "other_pairings": others,
        "skipped_lines": len(corpus.skipped),
        "skipped": [asdict(skip) for skip in corpus.skipped],
    }


def _pairing(report: ExamplesReport) -> dict[str, Any]:
    return {
        "pair_mode": report.pair_mode,
        "dedup": report.dedup,
        "splits": {name: asdict(split) for name, split in report.splits.items()},
    }


def _show(corpus: Corpus, reports: list[ExamplesReport]) -> None:
    console = Console(highlight=False, markup=False)
    for report in reports:
        console.print(_table(report))
    repeated = reports[0].train.leaked_dialogs
    for line in (
        "Evaluation pairs are kept unless training has them; training pairs, unless their whole "
        f"dialogue is an evaluation dialogue ({repeated:,} are).",
        *_skip_lines(corpus.skipped),
        f"Fingerprint {corpus.fingerprint}",
    ):
        console.print(line, soft_wrap=True)


def _table(report: ExamplesReport) -> Table:
    title = f"{report.corpus}, pairs: {report.pair_mode}, duplicates: {report.dedup}"
    table = Table("split", title=title, title_justify="left")
    for column in ("dialogues", "pairs", "kept", "left out"):
        table.add_column(column, justify="right")
    for name, split in report.splits.items():
        counts = (split.dialogs, split.pairs, split.kept, split.dropped)
        table.add_row(name, *(f"{count:,}" for count in counts))
    return table


def _skip_lines(skipped: tuple[Skip, ...]) -> list[str]:
    """How many lines were skipped, for what reasons, and where the first of them are."""
    reasons = Counter(skip.reason for skip in skipped)
    counts = "; ".join(f"{reason}: {count:,}" for reason, count in reasons.items())
    places = [f"  {skip.file}:{skip.line}: {skip.reason}" for skip in skipped[:_SHOWN_SKIPS]]
    return [f"Skipped lines: {len(skipped):,}" + (f" ({counts})" if counts else ""), *places]
