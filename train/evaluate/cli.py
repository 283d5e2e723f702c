"""Flags of the evaluation job -> what is judged, and how."""

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from dialog_service.errors import ConfigError, UserError
from train.data.corpora import CorpusSource
from train.evaluate.cases import EvaluationSplit
from train.evaluate.evaluation import evaluate_checkpoint, evaluate_file
from train.evaluate.options import CheckpointSubject, FileSubject, Options, Override

_HELP = """Score replies: BLEU, diversity and length, with intervals and null rows.

Of a checkpoint, on the test split of a corpus:

    python -m train.evaluate runs/wed_s-20250101-120000/best --data-dir DIR --output results

Of any system, from its replies, one JSON object a line, {"context": [...], "responses": [...],
"replies": [...]}; with --corpus, random and BM25 rows from that corpus's training pairs as well:

    python -m train.evaluate --replies-file replies.jsonl --corpus dailydialog --data-dir DIR

A figure says little without the null rows beside it: the human responses, random training
replies, an echo of the post, and the replies that BM25 finds. The folder --output gets
report.json (every figure, interval and signature), table.md and replies.jsonl.
"""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command(help=_HELP)
def evaluate(
    checkpoint: Annotated[
        Path | None, typer.Argument(help="A checkpoint directory.", show_default=False)
    ] = None,
    replies_file: Annotated[
        Path | None,
        typer.Option(help="Replies of any system as JSON lines, instead of a checkpoint."),
    ] = None,
    corpus: Annotated[
        str | None,
        typer.Option(
            help="dailydialog, switchboard or jsonl.",
            show_default="dailydialog, or none with --replies-file",
        ),
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Where the corpus is.", envvar="CORPORA_DIR")
    ] = None,
    split: Annotated[
        EvaluationSplit | None,
        typer.Option(
            help="Test pairs: the published list's; those not in training; of these, those "
            "without a near-duplicate in training; all.",
            show_default="deduplicated",
        ),
    ] = None,
    replies: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=100,
            help="Replies per context. The first one counts for BLEU, Dist and entropy.",
            show_default="1, or as many as the file has",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of draws and resampling.")] = 0,
    output: Annotated[
        Path | None, typer.Option(show_default="runs/evaluation-<time>", help="A folder.")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help="0 is greedy.", show_default="the checkpoint's own")
    ] = None,
    top_p: Annotated[float | None, typer.Option(show_default="the checkpoint's own")] = None,
    top_k: Annotated[
        int | None, typer.Option(help="0 is all.", show_default="the checkpoint's own")
    ] = None,
    latent_scale: Annotated[
        float | None,
        typer.Option(
            help="Multiplies the deviation of z; 0 is its mean.",
            show_default="the checkpoint's own",
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 ...")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32 or bf16.")] = "auto",
    batch_size: Annotated[int, typer.Option(min=1, help="Contexts answered at once.")] = 64,
    bm25: Annotated[bool, typer.Option(help="The BM25 row.")] = True,
    keep_leaks: Annotated[
        bool,
        typer.Option(
            "--keep-leaks",
            help="Null rows also draw from training dialogues that repeat an evaluation dialogue.",
        ),
    ] = False,
) -> None:
    """Parse, run, and end a user's mistake with one line and exit code 2."""
    console = Console(stderr=True)
    override = Override(
        temperature=temperature, top_k=top_k, top_p=top_p, latent_scale=latent_scale
    )
    try:
        _check_subject(checkpoint, replies_file, override, split)
        options = Options(
            output=_folder(output),
            reply_count=replies,
            seed=seed,
            batch_size=batch_size,
            has_bm25=bm25,
            keep_leaks=keep_leaks,
        )
        if checkpoint:
            report = evaluate_checkpoint(
                CheckpointSubject(
                    directory=checkpoint,
                    source=CorpusSource(corpus=corpus or "dailydialog", data_dir=data_dir),
                    split=split or EvaluationSplit.DEDUPLICATED,
                    override=override,
                    device=device,
                    precision=precision,
                ),
                options,
                console,
            )
        elif replies_file:
            source = CorpusSource(corpus=corpus, data_dir=data_dir) if corpus else None
            report = evaluate_file(FileSubject(path=replies_file, source=source), options, console)
    except UserError as error:
        console.print(f"error: {error}", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(2) from error
    report.show(Console())
    console.print(f"written to {options.output}", markup=False, highlight=False, soft_wrap=True)


def _check_subject(
    checkpoint: Path | None,
    replies_file: Path | None,
    override: Override,
    split: EvaluationSplit | None,
) -> None:
    """One of the two, and no flag of the other."""
    if (checkpoint is None) == (replies_file is None):
        raise ConfigError("give either a checkpoint directory or --replies-file")
    if replies_file and (split or override != Override()):
        raise ConfigError(
            "--split, --temperature, --top-p, --top-k and --latent-scale are for a checkpoint; "
            "with --replies-file the replies are what they are"
        )


def _folder(output: Path | None) -> Path:
    folder = output or Path("runs") / f"evaluation-{time.strftime('%Y%m%d-%H%M%S')}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--output {folder}: {error.strerror}") from error
    return folder
