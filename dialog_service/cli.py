"""``dialog-service serve | ask | health | models | bench``."""

import asyncio
import enum
import functools
import inspect
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic.fields import FieldInfo
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dialog_service.bench import bench
from dialog_service.client import CallFailed, DialogClient
from dialog_service.errors import ConfigError, UserError
from dialog_service.service_flags import calling
from dialog_service.serving.logs import configure_logging
from dialog_service.serving.replica import OnReady
from dialog_service.serving.replica import serve as serve_here
from dialog_service.serving.settings import (
    PREFIX,
    Settings,
    flag,
    load_settings,
    unknown_names,
)
from dialog_service.v1 import dialog_pb2 as pb

app = typer.Typer(
    help="Several different replies to one utterance, over gRPC.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # boxes leave no room for the names of flags
)
_log = logging.getLogger(__name__)
_out = Console(highlight=False, soft_wrap=True)
_TLS_TROUBLE = ("handshake", "Socket closed")  # how gRPC speaks of it
_METAVARS: dict[object, str | None] = {
    bool: None,
    int: "N",
    int | None: "N",
    float: "NUMBER",
    float | None: "NUMBER",
    Path | None: "PATH",
}


class _Selection(enum.StrEnum):
    """Strategies by the names that people type."""

    UNSPECIFIED = "default"
    NONE = "none"
    MMR = "mmr"


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
@calling
def ask(
    client: DialogClient,
    text: Annotated[str, typer.Argument(help="What you say.")],
    replies: Annotated[
        int | None, typer.Option("--replies", "-n", help="How many replies; 5 if not said.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Get the same replies each time; no cache.")
    ] = None,
    stop: Annotated[
        list[str] | None, typer.Option(help="End replies before this text; up to four times.")
    ] = None,
    selection: Annotated[
        _Selection,
        typer.Option(
            help="none: as drawn; mmr: of 32, those that fit and differ; default: the server's way."
        ),
    ] = _Selection.UNSPECIFIED,
    stream: Annotated[
        bool, typer.Option("--stream", help="Show each reply as soon as it is finished.")
    ] = False,
    model: Annotated[str, typer.Option(help="models/NAME or models/NAME/versions/VERSION.")] = "",
) -> None:
    """Say something to a running service and see its replies."""
    try:
        request = pb.GenerateRepliesRequest(
            model=model,
            turns=[pb.Turn(text=text)],
            reply_count=replies,
            sampling=pb.Sampling(seed=seed, stop=stop),
            selection=pb.Selection(strategy=f"SELECTION_STRATEGY_{selection.name}"),
        )
    except ValueError as error:  # a number of too many digits, or bytes that are no text
        raise ConfigError(f"this cannot be asked: {error}") from error
    started = time.perf_counter()
    response = (_streamed if stream else _answered)(client, request)
    milliseconds = 1000 * (time.perf_counter() - started)
    _out.print(Text(f"{_summary(response)} · {milliseconds:.0f} ms", style="dim"))


@app.command()
@calling
def health(client: DialogClient) -> None:
    """Exit with 0 if a service takes requests, else with 1."""
    is_ready = client.check_ready()
    _out.print("ready" if is_ready else "not ready")
    raise typer.Exit(0 if is_ready else 1)


@app.command()
@calling
def models(client: DialogClient) -> None:
    """List the models of a running service; * marks the default one."""
    listed = client.list_models().models
    table = Table("", "version", "variant", "preset", "corpus", "vocabulary", box=None)
    for model in listed:
        mark = "*" if model.is_default else ""
        size = str(model.vocabulary_size)
        table.add_row(mark, model.version, model.variant, model.preset, model.corpus, size)
    _out.print(table)


def serve(settings_file: Path | None = None, **flags: Any) -> None:
    """Run the service until SIGTERM or Ctrl-C.

    Every flag is also an environment variable, DIALOG_ and its name: --max-wait-seconds is
    DIALOG_MAX_WAIT_SECONDS. A flag wins over the environment, the environment over the file.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    settings = load_settings(given, settings_file)
    configure_logging(settings.log_format, settings.log_level)
    for name in unknown_names(settings_file):
        _log.warning("%s is not a setting of this service", name)
    say_ready = functools.partial(_say_ready, flags=_calling_flags(settings))
    if settings.processes == 1:
        serve_here(settings, say_ready)
    elif not _serve_with_processes(settings, say_ready):
        raise typer.Exit(1)


def _serve_with_processes(settings: Settings, on_ready: OnReady) -> bool:
    """Start several processes that serve, and none here; whether they ended in order."""
    from dialog_service.serving import processes

    return asyncio.run(processes.run(settings, on_ready))


def _serve_signature() -> inspect.Signature:
    """One flag per setting, with the setting's description as its help."""
    file_help = f"Read settings from this file of {PREFIX}NAME=value lines."
    file = typer.Option("--settings-file", help=file_help, metavar="PATH", show_default=False)
    annotations = {"settings_file": Annotated[Path | None, file]}
    annotations |= {name: _flag(name, field) for name, field in Settings.model_fields.items()}
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Signature(
        [inspect.Parameter(n, kind, default=None, annotation=a) for n, a in annotations.items()]
    )


def _flag(name: str, field: FieldInfo) -> Any:
    """The annotated type of a setting's flag; its value is checked by ``Settings`` alone."""
    names = [flag(name)]
    if field.annotation is bool:
        names = [f"{names[0]}/{flag('no_' + name)}"]
    default = "" if field.default is None else f" [default: {field.default}]"
    option = typer.Option(
        *names,
        help=f"{field.description}{default}",
        metavar=_metavar(field),
        show_default=False,
    )
    return Annotated[bool | None if field.annotation is bool else str | None, option]


def _metavar(field: FieldInfo) -> str | None:
    """What stands for a value in the help."""
    if get_origin(field.annotation) is Literal:
        return "|".join(get_args(field.annotation))
    return _METAVARS.get(field.annotation, "TEXT")


def _calling_flags(settings: Settings) -> str:
    """What calls of such a server need, besides its address."""
    needed = (
        (settings.tls_cert, " --tls-ca FILE"),
        (settings.tls_client_ca, " --tls-cert FILE --tls-key FILE"),
        (settings.auth_tokens_file, " --token-file FILE"),
    )
    return "".join(flags for setting, flags in needed if setting)


def _say_ready(grpc_address: str, metrics_addresses: Sequence[str], flags: str) -> None:
    places = ", ".join(f"http://{address}/metrics" for address in metrics_addresses)
    figures = f", figures on {places}" if places else ""
    target = "" if grpc_address.endswith(":50051") else f" --target {grpc_address}"
    print(
        f"Ready on {grpc_address}{figures}. Try: "
        f'dialog-service ask "How was your day?"{target}{flags}',
        flush=True,
    )


def _answered(
    client: DialogClient, request: pb.GenerateRepliesRequest
) -> pb.GenerateRepliesResponse:
    """Show all replies; the response."""
    response = client.generate_replies(request)
    for number, reply in enumerate(response.replies):
        _show(number, reply)
    return response


def _streamed(
    client: DialogClient, request: pb.GenerateRepliesRequest
) -> pb.GenerateRepliesResponse:
    """Show replies as they come; the summary."""
    summary = pb.GenerateRepliesResponse()
    for event in client.stream_replies(request):
        if event.HasField("reply"):
            _show(event.reply.index, event.reply.reply)
        else:
            summary = event.summary
    return summary


def _show(number: int, reply: pb.Reply) -> None:
    _out.print(Text.assemble((f"{number + 1:<2}  ", "dim"), reply.text))


def _summary(response: pb.GenerateRepliesResponse) -> str:
    """Cache status, diversity and, where it may be used again, the seed."""
    status = pb.CacheStatus.Name(response.cache.status).removeprefix("CACHE_STATUS_").lower()
    parts = [
        f"{response.diversity.unique_replies} replies",
        f"cache {status} (pool of {response.cache.pool_size})",
        f"Dist-1 {response.diversity.distinct_1:.2f}",
        f"Dist-2 {response.diversity.distinct_2:.2f}",
    ]
    return " · ".join(parts + ([f"seed {response.seed}"] if response.HasField("seed") else []))


def _why(error: CallFailed) -> str:
    """One line on a failed call, with what to do where nobody is there."""
    is_unanswered = error.status == "UNAVAILABLE" and not error.request_id
    if is_unanswered and any(sign in error.message for sign in _TLS_TROUBLE):
        needs = "--tls-ca, and --tls-cert with --tls-key where it asks for them, or none of these"
        return f"{error.target} is there, but TLS fails; it may want {needs} ({error.message})"
    if is_unanswered:
        return f"no service at {error.target}; start one with: dialog-service serve"
    return f"{error}, as --token-file does" if error.status == "UNAUTHENTICATED" else str(error)


serve.__signature__ = _serve_signature()  # type: ignore[attr-defined]
app.command()(bench)
app.command()(serve)
