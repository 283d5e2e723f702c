"""``dialog-service bench``: load on a running service, and what it was answered with."""

import asyncio
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from dialog_service.errors import ConfigError
from dialog_service.load.figures import Figures, histogram
from dialog_service.load.generator import Load, generate_load
from dialog_service.load.workload import UTTERANCES, Workload, parse_mix
from dialog_service.service_flags import ServiceFlags, with_flags
from dialog_service.v1 import dialog_pb2 as pb

_CACHE_MODES = {
    "default": pb.CACHE_MODE_DEFAULT,
    "bypass": pb.CACHE_MODE_BYPASS,
    "refresh": pb.CACHE_MODE_REFRESH,
}
_PROGRESS_FROM_SECONDS = 2.0
_BAR_WIDTH = 40
_out = Console(highlight=False, soft_wrap=True)


@dataclass(frozen=True, kw_only=True)
class LoadFlags:
    """What load, and what of it is a failure."""

    clients: Annotated[
        int,
        typer.Option(min=1, max=10_000, metavar="N", help="Clients, each with its own connection."),
    ] = 8
    duration: Annotated[
        float, typer.Option(min=0.1, max=86_400, metavar="SECONDS", help="How long calls are made.")
    ] = 10.0
    rate: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            max=1e6,
            metavar="NUMBER",
            help="Calls a second, at random times, answered or not; latency counts from when a "
            "call was due. Without it each client calls again when it has been answered.",
        ),
    ] = None
    mix: Annotated[
        str,
        typer.Option(
            metavar="NAME=SHARE,...", help="Shares of calls: unary, stream, batch, seeded, mmr."
        ),
    ] = "unary=8,stream=1,batch=1"
    repeated: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            metavar="SHARE",
            help="Share of utterances that come again and again; others are new.",
        ),
    ] = 0.5
    utterances: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Say the lines of this file instead of 64 of our own."),
    ] = None
    replies: Annotated[int, typer.Option(min=1, max=32, metavar="N", help="Per request.")] = 5
    cache_mode: Annotated[
        str, typer.Option(metavar="|".join(_CACHE_MODES), help="Of each request.")
    ] = "default"
    model: Annotated[
        str, typer.Option(metavar="NAME", help="models/NAME or models/NAME/versions/VERSION.")
    ] = ""
    timeout: Annotated[
        float, typer.Option(min=0.01, max=3600, metavar="SECONDS", help="Deadline of each call.")
    ] = 30.0
    seed: Annotated[int, typer.Option(metavar="N", help="Of what is sent, and when.")] = 0
    max_error_share: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, metavar="SHARE", help="Fail where more requests than this end without OK."
        ),
    ] = None
    max_p99_ms: Annotated[
        float | None,
        typer.Option(min=0, metavar="NUMBER", help="Fail where the p99 latency is above this."),
    ] = None
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="PATH", help="Write everything to this file.")
    ] = None

    def load(self) -> Load:
        """The load; raises ConfigError."""
        if self.cache_mode not in _CACHE_MODES:
            raise ConfigError(f"--cache-mode: must be one of {', '.join(_CACHE_MODES)}")
        workload = Workload(
            mix=parse_mix(self.mix),
            utterances=_lines(self.utterances) if self.utterances else UTTERANCES,
            repeated_share=self.repeated,
            reply_count=self.replies,
            cache_mode=_CACHE_MODES[self.cache_mode],
            model=self.model,
        )
        return Load(
            workload=workload,
            clients=self.clients,
            seconds=self.duration,
            rate=self.rate,
            timeout_seconds=self.timeout,
            seed=self.seed,
        )

    def failures(self, report: dict[str, Any]) -> list[str]:
        """What of a report is a failure."""
        p99_ms = 1000 * report["latency_seconds"]["all"].get("p99", 0.0)
        share, most, slowest = report["error_share"], self.max_error_share, self.max_p99_ms
        claims = {
            "no request was sent": not report["requests"],
            f"{report['hung']} requests hung past their deadline": report["hung"],
            f"{sum(report['wrong'].values())} answers were wrong": report["wrong"],
            f"error share {share:.2%}, more than {most}": most is not None and share > most,
            f"p99 {p99_ms:.0f} ms, above {slowest}": slowest is not None and p99_ms > slowest,
        }
        return [claim for claim, holds in claims.items() if holds]


@with_flags(ServiceFlags, LoadFlags)
def bench(service: ServiceFlags, flags: LoadFlags) -> None:
    """Load a running service: requests/s, latency, errors, what the cache did.

    Exit code 1 where a request hung past its deadline, an answer was wrong, or --max-error-share
    or --max-p99-ms was missed.
    """
    load = flags.load()
    with service.client() as client:
        client.check_ready()  # or else there is nobody to measure, and one line says so
    figures = Figures()
    started = time.perf_counter()
    asyncio.run(_loaded(service, load, figures))
    report = figures.report(time.perf_counter() - started)
    _show(figures, report)
    if flags.json_file:
        asked = {"mix": flags.mix, "clients": load.clients, "rate": load.rate, "seed": load.seed}
        _write(flags.json_file, {"asked": asked, **report})
    failures = flags.failures(report)
    for failure in failures:
        typer.echo(f"dialog-service: {failure}", err=True)
    raise typer.Exit(1 if failures else 0)


async def _loaded(service: ServiceFlags, load: Load, figures: Figures) -> None:
    """Make the calls, with a progress bar where that takes a while."""
    progress = Progress(
        BarColumn(),
        TextColumn("{task.fields[calls]} calls"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=load.seconds <= _PROGRESS_FROM_SECONDS,
    )
    with progress:
        showing = asyncio.create_task(_show_progress(progress, load, figures))
        await generate_load(lambda: service.plain_client(load.timeout_seconds), load, figures.add)
        showing.cancel()


async def _show_progress(progress: Progress, load: Load, figures: Figures) -> None:
    task = progress.add_task("load", total=load.seconds, calls=0)
    started = time.perf_counter()
    while True:
        passed = min(time.perf_counter() - started, load.seconds)
        progress.update(task, completed=passed, calls=figures.calls)
        await asyncio.sleep(0.2)


def _show(figures: Figures, report: dict[str, Any]) -> None:
    """Print a report for a person."""
    _out.print(
        f"{report['requests']} requests in {report['seconds']:.1f} s: "
        f"{report['requests_per_second']:.1f} requests/s, "
        f"{report['replies_per_second']:.1f} replies/s"
    )
    for name in ("statuses", "cache", "wrong"):
        if counts := report[name]:
            _out.print(f"{name}: " + ", ".join(f"{key} {count}" for key, count in counts.items()))
    _out.print(
        f"late {report['late']}, hung {report['hung']}, "
        f"sent at most {1000 * report['longest_lag_seconds']:.0f} ms after due"
    )
    table = Table("latency, ms", "calls", "p50", "p90", "p99", "max", box=None)
    for kind, found in report["latency_seconds"].items():
        shown = (
            f"{1000 * found[name]:.1f}" for name in ("p50", "p90", "p99", "max") if found["count"]
        )
        table.add_row(kind, f"{found['count']:.0f}", *shown)
    _out.print(table)
    bars = histogram(figures.latencies)
    most = max((bar.calls for bar in bars), default=1)
    for bar in bars:
        width = -(-_BAR_WIDTH * bar.calls // most)
        _out.print(f"{1000 * bar.up_to_seconds:>8.0f} ms {'#' * width:<{_BAR_WIDTH}} {bar.calls}")


def _lines(path: Path) -> tuple[str, ...]:
    """Utterances of a file; raises ConfigError."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--utterances: {path}: {error}") from error
    if found := tuple(line.strip() for line in lines if line.strip()):
        return found
    raise ConfigError(f"--utterances: {path}: nothing in it")


def _write(path: Path, report: dict[str, Any]) -> None:
    """As JSON; raises ConfigError."""
    try:
        path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--json: {path}: {error.strerror}") from error
