"""The command line of the evaluation job: ``python -m train.evaluate --help``."""

import functools
import inspect
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from dialog_service.errors import UserError
from train.evaluate.evaluation import evaluate_checkpoint, evaluate_file
from train.evaluate.flags import Flags
from train.evaluate.journal import REPLIES, partial_of
from train.evaluate.options import CheckpointSubject, FileSubject, Options
from train.evaluate.stopping import Stopped, stopped_by_signals
from train.metrics.report import Report

_HELP = """Score replies: overlap, diversity, relevance and length, with intervals and null rows.

Of a checkpoint, on the test split of a corpus:

    python -m train.evaluate runs/wed_s-20250101-120000 --data-dir DIR --output results

Of any system, from its replies, one JSON object a line, {"context": [...], "responses": [...],
"replies": [...]}; with --corpus, random and BM25 rows from that corpus's training pairs as well.
Lines of another form are left out, each told with its number and reason:

    python -m train.evaluate --replies-file replies.jsonl --corpus dailydialog --data-dir DIR

Of two evaluations of the same contexts, the differences and how sure they are:

    python -m train.evaluate compare results/a results/b

A figure says little without the null rows beside it: the human responses, random training
replies, an echo of the post, and the replies that BM25 finds. The folder --output gets
report.json (every figure, interval and signature), report.html and table.md to read,
replies.jsonl, and measures.jsonl: relevance and surprisal of the replies, which "compare" takes
from there. What is stopped by Ctrl-C or SIGTERM goes on when the same command is given the same
--output: no reply is drawn twice.

Ends with 0 when the report is written, even where lines were left out; 2 and one line after a
mistake in flags, files or folders; 128 + the signal's number when stopped.
"""

_DEFAULT = "evaluate"


class _Commands(TyperGroup):
    """Commands of which the first need not be named."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the default's name before arguments that begin with no command's."""
        named = args if args and args[0] in self.commands else [_DEFAULT, *args]
        return super().parse_args(ctx, named)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[Any, Any, list[str]]:
        """The default has no name in its usage line, for nobody needs to type it."""
        name, command, rest = super().resolve_command(ctx, args)
        return "" if name == _DEFAULT else name, command, rest


app = typer.Typer(
    cls=_Commands, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None
)


def _taking_flags(command: Callable[[Flags], None]) -> Callable[..., None]:
    """The command as a function with a parameter for every field of ``Flags``."""

    @functools.wraps(command)
    def program(**values: Any) -> None:
        command(Flags(**values))

    program.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                annotation=field.type,
                default=field.default,
            )
            for field in fields(Flags)
        ]
    )
    return program


@app.command(_DEFAULT, help=_HELP)
@_taking_flags
def evaluate(flags: Flags) -> None:
    """Judge a checkpoint or a file of replies, and show the table."""
    output = flags.output or Path("runs") / f"evaluation-{time.strftime('%Y%m%d-%H%M%S')}"
    console = Console(stderr=True)
    with _ended_in_one_line(console, partial_of(output / REPLIES)), _left_if_used(output):
        report = _evaluated(flags.subject(), flags.options(output), console)
    report.show(Console())
    console.print(f"written to {output}", markup=False, highlight=False, soft_wrap=True)


_flags_alone = typer.Typer(
    add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None
)


@_flags_alone.command(help=_HELP)
@_taking_flags
def _checked(flags: Flags) -> None:
    with _ended_in_one_line(Console(stderr=True)):
        flags.subject()
        flags.checked_pair_mode()


def refuse_wrong_flags(words: Sequence[str]) -> None:
    """Look at the words of an evaluation's command line before it is time for it.

    Raises:
        SystemExit: 2 after what is wrong has been said; after ``--help``, which it shows.
    """
    try:
        _flags_alone(args=list(words), prog_name="python -m train.evaluate")
    except SystemExit as end:
        if end.code or "--help" in words:
            raise


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="The folder of an evaluation.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another, of the same contexts.")],
    output: Annotated[
        Path | None, typer.Option(help="A folder for compare.json and compare.md.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of exchanges and resampling.")] = 0,
) -> None:
    """Differences of two evaluations, paired context by context, with intervals and p-values.

    Of every figure of the two systems' rows. Relevance compares where one classifier judged both,
    UniKL and LM nats where both were held against the same responses; else why not is said, and
    what to do. One system may see more turns of a context than the other; those that both see must
    be the same.
    """
    from train.evaluate.compare import compare_reports

    with _ended_in_one_line(Console(stderr=True)):
        compare_reports(first, second, output, Console(), seed=seed)


@contextmanager
def _left_if_used(folder: Path) -> Iterator[None]:
    """After a user's mistake, remove the folder again if it is new and still empty."""
    was_there = folder.exists()
    try:
        yield
    except UserError:
        if not was_there:
            with suppress(OSError):  # not there after all, or not empty
                folder.rmdir()
        raise


def _evaluated(
    subject: CheckpointSubject | FileSubject, options: Options, console: Console
) -> Report:
    if isinstance(subject, FileSubject):
        return evaluate_file(subject, options, console)
    return evaluate_checkpoint(subject, options, console)


@contextmanager
def _ended_in_one_line(console: Console, kept: Path | None = None) -> Iterator[None]:
    """End with a line and a code for whatever is not a fault of the program.

    Args:
        console: for the line.
        kept: the file that an evaluation goes on from when it is stopped.
    """
    say = functools.partial(console.print, markup=False, highlight=False, soft_wrap=True)
    try:
        with stopped_by_signals():
            yield
    except UserError as error:
        say(f"error: {error}")
        raise typer.Exit(2) from error
    except Stopped as stopped:
        say(f"stopped by {stopped}{_way_to_go_on(kept)}")
        raise typer.Exit(stopped.exit_code) from stopped


def _way_to_go_on(kept: Path | None) -> str:
    if kept is None or not kept.is_file() or not kept.stat().st_size:
        return ""
    return f"; to go on, repeat the command with --output {kept.parent}"
