"""Fit a matcher to a trained model: ``python -m train.matcher RUN --data-dir DIR``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from dialog_service.checkpoint import (
    checkpoint_directory,
    load_checkpoint,
    refuse_replacing_others,
    save_checkpoint,
)
from dialog_service.errors import UserError
from train.data.corpora import CorpusSource
from train.data.examples import load_examples
from train.matching import MatchingSettings, example_options, with_matcher

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def fit(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint directory, or a run's folder.")],
    corpus: Annotated[
        str | None, typer.Option(show_default="the checkpoint's", help="Whose pairs to learn from.")
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Where the corpus is.", envvar="CORPORA_DIR")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(show_default="the checkpoint itself", help="The directory to write."),
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Over the training pairs.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="Fixes every random choice.")] = 0,
) -> None:
    """Fit a matcher to a trained model, which then tells how well its replies fit.

    Two small networks over the states of the model's own encoder learn to tell responses from
    other replies, on the training pairs; nothing else of the model changes, and what it says
    stays the same. Requests that have replies selected from more candidates
    (SELECTION_STRATEGY_MMR) then get those that fit. Takes minutes on a CPU. Weights are written
    in full precision; python -m train.export halves them.

    Ends with 0 when the checkpoint is written, 2 and one line after a mistake.
    """
    console = Console(stderr=True)
    settings = MatchingSettings(epochs=epochs, seed=seed)
    try:
        place = checkpoint_directory(checkpoint)
        refuse_replacing_others(output or place)  # before the work, so that a mistake costs nothing
        loaded = load_checkpoint(place)
        source = CorpusSource(corpus=corpus or loaded.meta.corpus, data_dir=data_dir)
        matched, quality = with_matcher(
            loaded, load_examples(source, example_options(loaded, console)), settings, console
        )
        save_checkpoint(matched, output or place)
    except UserError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from None
    typer.echo(f"{output or place}: {quality}")


if __name__ == "__main__":
    app()
