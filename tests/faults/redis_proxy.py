"""A way to Redis that can go wrong: ``python redis_proxy.py SOCKET``, told on stdin what to do.

Lines: ``pass``, ``slow SECONDS`` (every answer comes so much later), ``garbage`` (answers are none
that Redis would give, or none to what was asked). Says on stdout which port it listens on. A
process of its own, so that it is as fast as it claims to be.
"""

import asyncio
import contextlib
import random
import subprocess
import sys
from pathlib import Path


class RedisProxy:
    """The proxy as its users see it."""

    def __init__(self, socket: Path) -> None:
        self._process = subprocess.Popen(
            (sys.executable, __file__, str(socket)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.url = f"redis://127.0.0.1:{int(self._process.stdout.readline())}"

    def say(self, order: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{order}\n")
        self._process.stdin.flush()

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


GARBAGE = (
    b"+PONG\r\n",
    b":1\r\n",
    b":one\r\n",
    b"$-1\r\n",
    b"$3\r\nabc\r\n",
    b"$abc\r\n",
    b"*0\r\n",
    b"*4\r\n:5\r\n:5\r\n:1\r\n$3\r\nabc\r\n",
    b"HTTP/1.1 400 Bad Request\r\n\r\n",
)


class _Proxy:
    def __init__(self, socket: str) -> None:
        self._socket = socket
        self._delay = 0.0
        self._is_garbage = False
        self._chance = random.Random(1)

    async def run(self) -> None:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            order, _, seconds = line.strip().partition(" ")
            self._is_garbage = order == "garbage"
            self._delay = float(seconds or 0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            there = await asyncio.open_unix_connection(self._socket)
            await asyncio.gather(self._pipe(reader, there[1]), self._answer(there[0], writer))
        writer.close()

    async def _pipe(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
        sink.close()

    async def _answer(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            await asyncio.sleep(self._delay)
            garbage = self._chance.choice((*GARBAGE, self._chance.randbytes(len(data))))
            sink.write(garbage if self._is_garbage else data)
            await sink.drain()
        sink.close()


if __name__ == "__main__":
    asyncio.run(_Proxy(sys.argv[1]).run())
