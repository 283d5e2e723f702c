"""Commands run as processes of their own, their output in a file, stopped with a signal.

A child gets a session of its own, so that Ctrl-C in a terminal reaches it once, through here.
"""

import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

POLL_SECONDS = 0.2
StopSignal = Callable[[], signal.Signals | None]


class CommandFailed(Exception):
    """A command ended with an error; the message is its last line and where the others are."""


class Stopped(Exception):
    """The whole experiment was asked to stop, and the child has."""


class Children:
    """Runs commands one after the other for one row, Python's output unbuffered."""

    def __init__(self, stop_signal: StopSignal, environment: dict[str, str]) -> None:
        """Children that pass on the signal that ``stop_signal`` tells of."""
        self._stop_signal = stop_signal
        # Unbuffered, a program's error line comes last in the log, behind all it printed before.
        self._environment = {**environment, "PYTHONUNBUFFERED": "1"}

    @property
    def is_stopping(self) -> bool:
        """Whether nothing new should be started."""
        return self._stop_signal() is not None

    def run(
        self, command: Sequence[str], log: Path, watch: Callable[[], bool] = lambda: False
    ) -> None:
        """Run a command to its end; ``watch`` is called meanwhile and may say that it is enough.

        Raises:
            Stopped: a signal came; the child has had it too and has ended.
            CommandFailed: the command did not succeed.
        """
        if self.is_stopping:
            raise Stopped
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
            )
            is_enough = self._wait(child, watch)
        if self.is_stopping:
            raise Stopped
        if child.returncode and not is_enough:
            raise CommandFailed(f"{_last_line(log) or f'exit code {child.returncode}'} ({log})")

    def _wait(self, child: subprocess.Popen[bytes], watch: Callable[[], bool]) -> bool:
        """Until the child has ended; whether ``watch`` ended it."""
        asked: signal.Signals | None = None
        is_enough = False
        while child.poll() is None:
            wanted = self._stop_signal()
            is_enough = is_enough or (wanted is None and watch())
            if is_enough and wanted is None:
                wanted = signal.SIGTERM
            if wanted is not None and asked is None:
                asked = wanted
                child.send_signal(wanted)
            time.sleep(POLL_SECONDS)
        return is_enough


def _last_line(log: Path) -> str:
    """The last line that says something: a program's error line comes last."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
