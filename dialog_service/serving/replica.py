"""One process that serves. As a program of its own it is one of several, started by ``processes``.

Knows what to do before torch is imported, and so imports little.
"""

import asyncio
import contextlib
import gc
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from dialog_service.errors import UserError
from dialog_service.serving.logs import configure_logging
from dialog_service.serving.settings import Settings
from dialog_service.spinning import spin_briefly

OnReady = Callable[[str, Sequence[str]], None]
"""Told the address of the API, and those of the figures, once everything takes requests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What one of several processes says of its start: that it is ready, or why it never will be.

    ``metrics`` is where it shows its figures.
    """

    metrics: str | None = None
    error: str | None = None

    def line(self) -> bytes:
        """For a pipe."""
        return f"{json.dumps(asdict(self))}\n".encode()

    @classmethod
    def read(cls, line: bytes) -> "Report | None":
        """From a pipe; None where its other end was closed before a whole line had come."""
        return cls(**json.loads(line)) if line.endswith(b"\n") else None


def serve(settings: Settings, on_ready: OnReady, orders: int | None = None) -> None:
    """Serve in this process until a signal, or an order over a pipe, ends it.

    Raises:
        UserError: the server could not start.
    """
    # What a start makes is there to stay: looking for what may go takes a tenth of its time.
    gc.disable()
    spin_briefly()
    # Brings torch: not before it is needed.
    from dialog_service.serving.early_load import EarlyLoad

    load = EarlyLoad(settings)
    # Beside which Redis' client and all else that serving takes are imported.
    from dialog_service.serving.app import Addresses, run

    def when_ready(found: Addresses) -> None:
        gc.freeze()  # nor is it looked through while requests wait
        gc.enable()
        on_ready(found.grpc, [found.metrics] if found.metrics else [])

    asyncio.run(run(settings, when_ready, load, orders))


def main() -> None:
    """Serve with the settings in the first line of the input; what comes after it are orders.

    The only argument is its number. The output gets the report and nothing else.
    """
    reports = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def ready(_: str, figures: Sequence[str]) -> None:
        report(Report(metrics=next(iter(figures), None)))

    def report(said: Report) -> None:
        with contextlib.suppress(BrokenPipeError):  # who started it is gone; orders say so too
            os.write(reports, said.line())
        os.close(reports)

    with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as orders:
        line = orders.readline()
    if not line:  # who started it is gone already
        return
    settings = Settings(**json.loads(line))
    configure_logging(settings.log_format, settings.log_level, int(sys.argv[1]))
    try:
        serve(settings, ready, sys.stdin.fileno())
    except UserError as error:
        report(Report(error=str(error)))
        sys.exit(2)


if __name__ == "__main__":
    main()
