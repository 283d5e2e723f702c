"""``dialog-service serve | ask | health | models``."""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dialog_service.client import DEFAULT_TARGET, CallFailed, DialogClient
from dialog_service.errors import UserError

app = typer.Typer(
    help="Several different replies to one utterance, over gRPC.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_out = Console(highlight=False, soft_wrap=True)
_Target = Annotated[str, typer.Option(help="HOST:PORT of the service.")]
_METAVARS = {bool: None, int: "N", float: "NUMBER", Path: "PATH"}


def main() -> None:
    """Entry point: an error that the user can mend is one line and exit code 2."""
    try:
        app()
    except UserError as error:
        print(f"dialog-service: {error}", file=sys.stderr)
        sys.exit(2)
    except CallFailed as error:
        print(f"dialog-service: {_why(error)}", file=sys.stderr)
        sys.exit(1)


@app.command()
def ask(
    text: Annotated[str, typer.Argument(help="What you say.")],
    replies: Annotated[
        int | None, typer.Option("--replies", "-n", help="How many replies; 5 if not said.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Get the same replies each time; no cache.")
    ] = None,
    model: Annotated[str, typer.Option(help="models/NAME or models/NAME/versions/VERSION.")] = "",
    target: _Target = DEFAULT_TARGET,
) -> None:
    """Say something to a running service and see its replies."""
    with DialogClient(target) as client:
        started = time.perf_counter()
        response = _reached(target, client.ask, text, reply_count=replies, seed=seed, model=model)
        milliseconds = 1000 * (time.perf_counter() - started)
    table = Table.grid(padding=(0, 2))
    for number, reply in enumerate(response.replies, 1):
        table.add_row(Text(str(number), style="dim"), Text(reply.text))
    _out.print(table)
    _out.print(Text(f"{_summary(response)} · {milliseconds:.0f} ms", style="dim"))


@app.command()
def health(target: _Target = DEFAULT_TARGET) -> None:
    """Exit with 0 if a service takes requests, else with 1."""
    with DialogClient(target) as client:
        is_ready = _reached(target, client.is_ready)
    _out.print("ready" if is_ready else "not ready")
    raise typer.Exit(0 if is_ready else 1)


@app.command()
def models(target: _Target = DEFAULT_TARGET) -> None:
    """List the models of a running service; * marks the default one."""
    with DialogClient(target) as client:
        listed = _reached(target, client.list_models).models
    table = Table("", "version", "variant", "preset", "corpus", "vocabulary", box=None)
    for model in listed:
        mark = "*" if model.is_default else ""
        size = str(model.vocabulary_size)
        table.add_row(mark, model.version, model.variant, model.preset, model.corpus, size)
    _out.print(table)
