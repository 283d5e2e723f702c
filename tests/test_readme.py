"""What the README shows: clients from the .proto alone, run as they stand there; settings."""

import asyncio
import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from echo_server import Running, running

from dialog_service.serving.settings import Settings
from dialog_service.v1 import dialog_pb2_grpc

ROOT = Path(__file__).parents[1]
NODE, MODULES = shutil.which("node"), ROOT / "tests" / "node" / "node_modules"
needs_node = pytest.mark.skipif(
    NODE is None or not (MODULES / ".installed").exists(),
    reason="node, or what make lint installs with npm, is not here",
)
SAID = "Where shall we meet tomorrow?"


def section(title: str) -> str:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (found,) = re.findall(rf"^## {title}\n(.*?)^## ", readme, re.MULTILINE | re.DOTALL)
    return found


def block(language: str, containing: str) -> str:
    """The one block of code of a client that is in a language and contains a text."""
    text = section("Call it from your backend")
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    (found,) = [each for each in blocks if containing in each]
    return found


class Front(dialog_pb2_grpc.DialogServiceServicer):
    """Before a real server: refuses the first call, as a server does that stops."""

    def __init__(self, service: Running) -> None:
        self._service = service
        self.request_ids: list[str] = []
        self.seconds_left: list[float] = []

    async def GenerateReplies(self, request, context):
        metadata = dict(context.invocation_metadata())
        self.request_ids.append(metadata["x-request-id"])
        self.seconds_left.append(context.time_remaining())
        if len(self.request_ids) == 1:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
        passed_on = [("x-request-id", metadata["x-request-id"])]
        try:
            return await self._service.stub.GenerateReplies(request, metadata=passed_on)
        except grpc.aio.AioRpcError as error:
            await context.abort(error.code(), error.details(), tuple(error.trailing_metadata()))


@contextlib.asynccontextmanager
async def front() -> AsyncIterator[tuple[Front, str]]:
    """One, and where it listens."""
    async with running() as service:
        servicer, server = Front(service), grpc.aio.server()
        dialog_pb2_grpc.add_DialogServiceServicer_to_server(servicer, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        yield servicer, f"127.0.0.1:{port}"
        await server.stop(None)


async def check(*command: str, folder: Path, **environment: str) -> None:
    """Run a client against a front: what it prints and what it sends."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    async with front() as (servicer, address):
        done = await asyncio.to_thread(
            subprocess.run,
            (*command, address),
            cwd=folder,
            env=clean | environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert (done.returncode, done.stderr) == (0, "")
    first, again, second = servicer.request_ids
    assert len(first) >= 32
    assert first == again != second
    assert all(0 < seconds < 11 for seconds in servicer.seconds_left)  # 10, rounded up on the way
    *replies, failure, violation = done.stdout.splitlines()
    assert len(set(replies)) == 3
    assert all(re.fullmatch(re.escape(SAID) + r" / \d+", reply) for reply in replies)
    assert failure == f"INVALID_ARGUMENT, request id {second}"
    assert violation == "  turns[0].text must say something"


async def test_the_python_client_works_with_the_proto_file_alone(tmp_path: Path):
    shutil.copytree(ROOT / "proto", tmp_path / "proto")
    steps = block("", "grpc_tools.protoc").replace("\\\n", "")
    (generate,) = [line for line in steps.splitlines() if line.startswith("python ")]
    python = shlex.quote(sys.executable)
    subprocess.run(
        re.sub(r"\bpython (?=-)", f"{python} ", generate), shell=True, check=True, cwd=tmp_path
    )
    # Its stubs come before those that are installed here, and nothing else of ours is to be found.
    (tmp_path / "dialog_service" / "__init__.py").touch()
    (tmp_path / "backend.py").write_text(block("python", "# backend.py"), encoding="utf-8")
    await check(sys.executable, "backend.py", folder=tmp_path)


@needs_node
async def test_the_node_client_works_with_the_proto_file_alone(tmp_path: Path):
    shutil.copytree(ROOT / "proto", tmp_path / "proto")
    (tmp_path / "backend.js").write_text(block("js", "// backend.js"), encoding="utf-8")
    await check(str(NODE), "backend.js", folder=tmp_path, NODE_PATH=str(MODULES))


def test_settings_to_tune_are_there_with_the_defaults_that_are_told():
    _, *rows = re.findall(r"^\| (`[A-Z_`, ]+) \| ([^|]+) \|", section("Tune it"), re.MULTILINE)
    told = [
        (name.strip("`").lower(), default.strip("`").replace(",", ""))
        for names, defaults in rows
        for name, default in zip(names.split(", "), defaults.split(", "), strict=True)
    ]
    assert len(told) > 10
    for name, default in told:
        real = Settings.model_fields[name].default
        shown = "the model's" if real is None else f"{real:g}" if isinstance(real, float) else real
        assert str(shown) == default, name
