"""A service of one's own, in a process of its own, for as long as a ``with`` block lasts.

    with local_service() as address, DialogClient(address) as client:
        client.ask("How was your day?")

Starts ``dialog-service serve`` and knows nothing else of the server.
"""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dialog_service.errors import DialogError

_END_SECONDS = 60.0  # longer than the server takes to finish what it has


class ServiceEnded(DialogError):
    """The service ended before it was ready; why, it has said on stderr."""


@contextmanager
def local_service(*flags: str, python: Path = Path(sys.executable)) -> Iterator[str]:
    """Run a service on a free port of this machine and end it in order.

    Args:
        flags: of ``dialog-service serve``, besides the address.
        python: the interpreter of the environment that the service is installed in.

    Yields:
        HOST:PORT, once the service takes requests.

    Raises:
        ServiceEnded: it did not start.
    """
    program = str(python.with_name("dialog-service"))
    with subprocess.Popen(
        (program, "serve", "--grpc-address", "127.0.0.1:0", *flags),
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,  # Ctrl-C reaches the caller alone, who leaves the block
    ) as process:
        try:
            yield _ready_address(process)
        finally:
            _end(process)


def _ready_address(process: subprocess.Popen[str]) -> str:
    """Where the service listens, from the line that says it is ready."""
    for line in process.stdout or ():
        if found := re.match(r"Ready on (\S+:\d+)", line):
            return found[1]
    raise ServiceEnded("the service ended before it was ready")


def _end(process: subprocess.Popen[str]) -> None:
    """Ctrl-C, which unlike SIGTERM does not wait for load balancers; then force."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(_END_SECONDS)
    finally:
        process.kill()
