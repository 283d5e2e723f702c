"""``dialog-service`` as a person meets it: what it prints, where, and its exit codes."""

import asyncio
import gc
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from certificates import Certificates
from echo_server import running

from dialog_service import cli
from dialog_service.serving import app, early_load
from dialog_service.serving.settings import Settings

COMMANDS = [("ask", "hello"), ("models",), ("health",), ("bench", "--duration", "0.2")]
PROGRAM = str(Path(sys.executable).with_name("dialog-service"))


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (PROGRAM, *arguments),
        capture_output=True,
        text=True,
        timeout=110,
        env={"PATH": "/usr/bin:/bin", "COLUMNS": "100", **environment},
    )


async def asked(*arguments: str, **settings: object) -> subprocess.CompletedProcess[str]:
    """What a command prints that talks to a running service."""
    async with running(**settings) as service:
        target = ("--target", service.addresses.grpc)
        return await asyncio.to_thread(run, *arguments, *target)


async def test_ask_prints_numbered_replies_cache_status_and_diversity():
    done = await asked("ask", "how are [you]?", "-n", "3", "--seed", "7")
    *replies, summary = done.stdout.splitlines()
    assert [line.split()[0] for line in replies] == ["1", "2", "3"]
    assert all(re.fullmatch(r"\d\s+how are \[you\]\? / \d+\s*", line) for line in replies)
    for part in ("3 replies", "cache bypass", "Dist-1 0.", "Dist-2 0.", "seed 7", " ms"):
        assert part in summary
    assert (done.returncode, done.stderr) == (0, "")


async def test_ask_ends_replies_at_stops_and_selects():
    seeded = ("ask", "how are you?", "--seed", "7")
    done = await asked(*seeded, "--stop", "you", "--stop", "zz")
    assert done.stdout.splitlines()[0].split() == ["1", "how", "are"]
    async with running() as service:
        words = (*seeded, "--selection", "mmr", "--target", service.addresses.grpc)
        done = await asyncio.to_thread(run, *words)
        [[request]] = service.model.batches
    assert len(done.stdout.splitlines()) == 6
    assert request.reply_count == 32  # to choose from
    wrong = await asked("ask", "hi", "--stop", "")
    assert "sampling.stop[0]" in wrong.stderr


async def test_ask_shows_replies_as_they_come():
    seeded = ("ask", "how are you?", "-n", "3", "--seed", "7")
    whole, streamed = [(await asked(*seeded, *more)).stdout for more in ((), ("--stream",))]
    assert streamed.splitlines()[:3] == whole.splitlines()[:3]
    assert streamed.splitlines()[3].startswith("3 replies · cache bypass")
    wrong = await asked("ask", "", "--stream")
    assert wrong.returncode == 1
    assert "turns[0].text" in wrong.stderr


async def test_ask_names_what_is_wrong_in_one_line():
    done = await asked("ask", "", "-n", "99")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "turns[0].text" in done.stderr
    assert "reply_count" in done.stderr


@pytest.mark.parametrize("arguments", [("hi", "-n", "3000000000"), ("\udcff",)])
def test_what_no_request_can_hold_is_said_in_one_line(arguments: tuple[str, ...]):
    done = run("ask", *arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("dialog-service: this cannot be asked: ")


@pytest.mark.parametrize("command", COMMANDS)
def test_without_a_service_one_line_says_how_to_start_one(command: tuple[str, ...]):
    done = run(*command, "--target", "127.0.0.1:1")
    assert done.returncode == 1
    assert done.stdout == ""
    line = "no service at 127.0.0.1:1; start one with: dialog-service serve"
    assert done.stderr == f"dialog-service: {line}\n"


async def test_health_is_an_exit_code():
    done = await asked("health")
    assert (done.returncode, done.stdout) == (0, "ready\n")
    async with running() as service:
        await service.server.drain(delay_seconds=0)
        done = await asyncio.to_thread(run, "health", "--target", service.addresses.grpc)
    assert (done.returncode, done.stdout) == (1, "not ready\n")


async def test_models_are_listed_with_the_default_marked():
    done = await asked("models")
    [line] = [line for line in done.stdout.splitlines() if "versions" in line]
    assert line.split() == ["*", "models/echo/versions/1", "echo", "none", "nothing", "1000"]


@pytest.mark.parametrize("command", COMMANDS)
async def test_every_command_that_calls_speaks_tls_and_shows_a_token(
    command: tuple[str, ...], tmp_path: Path
):
    made, tokens = Certificates(tmp_path), tmp_path / "tokens"
    tokens.write_text("# of the shop\na-secret\n")
    flags = {
        "--tls-ca": made.ca,
        "--tls-cert": made.client.cert,
        "--tls-key": made.client.key,
        "--token-file": tokens,
    }
    async with running(**made.mutual, auth_tokens_file=tokens) as service:
        target = {"--target": service.addresses.grpc}
        given = [str(part) for pair in (flags | target).items() for part in pair]
        done = await asyncio.to_thread(run, *command, *given)
        assert (done.returncode, done.stderr) == (0, "")
        named = {
            f"DIALOG_CALL_{flag[2:].replace('-', '_').upper()}": str(value)
            for flag, value in (flags | target).items()
        }
        done = await asyncio.to_thread(run, *command, **named)
        assert (done.returncode, done.stderr) == (0, "")


async def test_what_is_wrong_with_tls_or_a_token_is_said_in_one_line(tmp_path: Path):
    made, tokens = Certificates(tmp_path), tmp_path / "tokens"
    tokens.write_text("a-secret\n")
    async with running(**made.settings, auth_tokens_file=tokens) as service:
        health = ("health", "--target", service.addresses.grpc)
        for flags in ((), ("--tls",)):
            done = await asyncio.to_thread(run, *health, *flags)
            assert done.returncode == 1
            assert f"{service.addresses.grpc} is there, but TLS fails" in done.stderr
        models = ("models", *health[1:], "--tls-ca", str(made.ca))
        done = await asyncio.to_thread(run, *models)
        assert done.returncode == 1
        assert done.stderr.startswith("dialog-service: UNAUTHENTICATED: this server asks for a")
        assert "--token-file" in done.stderr
    for flags in (
        ("--token-file", "/absent"),
        ("--token-file", str(made.ca)),
        ("--tls-ca", "/absent"),
        ("--tls-cert", str(made.client.cert)),
    ):
        done = run("models", *flags)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


async def test_a_server_says_with_which_flags_to_call_it(tiny_checkpoint: Path, tmp_path: Path):
    made, tokens = Certificates(tmp_path), tmp_path / "tokens"
    tokens.write_text("a-secret\n")
    flags = {
        "--model": tiny_checkpoint,
        "--grpc-address": "127.0.0.1:0",
        "--metrics-address": "off",
        "--redis-url": "off",
        "--tls-cert": made.server.cert,
        "--tls-key": made.server.key,
        "--auth-tokens-file": tokens,
    }
    given = [str(part) for pair in flags.items() for part in pair]
    process = await asyncio.create_subprocess_exec(
        PROGRAM, "serve", *given, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    ready = (await process.stdout.readline()).decode()
    process.send_signal(signal.SIGINT)
    await process.communicate()
    assert ready.endswith(" --tls-ca FILE --token-file FILE\n")


def test_serve_help_shows_every_setting_with_its_default():
    done = run("serve", "--help")
    shown = " ".join(done.stdout.split())
    for name, field in Settings.model_fields.items():
        assert f"--{name.replace('_', '-')}" in shown
        assert field.default is None or f"[default: {field.default}]" in shown, name


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        (("--max-wait-seconds", "soon"), {}, "--max-wait-seconds"),
        ((), {"DIALOG_MAX_WAIT": "1"}, "DIALOG_MAX_WAIT_SECONDS?"),
        ((), {"DIALOG_MAX_INPUT_TOKENS": "0"}, "DIALOG_MAX_INPUT_TOKENS"),
        (("--tls-cert", "/absent", "--tls-key", "/absent"), {}, "/absent"),
        ((), {"DIALOG_AUTH_TOKENS_FILE": "/absent"}, "/absent"),
        (("--model", "/absent"), {}, "/absent"),
        (("--models", "/absent"), {}, "/absent"),
        (("--settings-file", "/absent"), {}, "/absent"),
        (("--model", "TINY", "--device", "abacus"), {}, "abacus"),
    ],
)
def test_a_server_that_cannot_start_says_why_in_one_line(
    arguments: tuple[str, ...], environment: dict[str, str], said: str, tiny_checkpoint: Path
):
    arguments = tuple(str(tiny_checkpoint) if a == "TINY" else a for a in arguments)
    ports = ("--grpc-address", "127.0.0.1:0", "--metrics-address", "off", "--redis-url", "off")
    done = run("serve", *ports, *arguments, **environment)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("dialog-service: ")
    assert said in done.stderr


def test_a_name_that_is_no_settings_is_a_line_of_the_log_like_any_other():
    given = {"DIALOG_SERVICE_HOST": "10.0.0.1", "DIALOG_LOG_FORMAT": "json"}
    done = run("serve", "--model", "/nowhere", "--redis-url", "off", **given)
    warning, end = done.stderr.splitlines()
    line = json.loads(warning)
    assert (line["level"], line["message"].split()[0]) == ("warning", "DIALOG_SERVICE_HOST")
    assert end == "dialog-service: /nowhere: no such checkpoint directory"


def test_nothing_that_a_start_makes_is_looked_through_for_what_may_go(
    monkeypatch: pytest.MonkeyPatch,
):
    async def run(settings: Settings, on_ready: Callable, load: object, orders: None) -> None:
        assert not gc.isenabled()
        on_ready(app.Addresses("127.0.0.1:1", None))

    monkeypatch.setattr(app, "run", run)
    monkeypatch.setattr(early_load, "EarlyLoad", lambda settings: None)
    monkeypatch.setattr(cli, "configure_logging", lambda *_: None)
    try:
        cli.serve()
        assert gc.isenabled()
        assert gc.get_freeze_count()
    finally:
        gc.unfreeze()
        gc.enable()


def test_commands_that_only_ask_do_not_load_torch():
    code = "import sys, dialog_service.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run((sys.executable, "-c", code)).returncode == 0


@pytest.mark.parametrize(
    "program",
    [
        "from dialog_service import cli; cli.serve()",
        "import runpy; sys.argv[1:] = ['nowhere']; "
        "runpy.run_module('train.evaluate', run_name='__main__')",
    ],
)
@pytest.mark.parametrize(
    ("given", "spins"),
    [
        ({}, "1000"),
        ({"GOMP_SPINCOUNT": "7"}, "7"),
        ({"OMP_WAIT_POLICY": "passive"}, None),
    ],
)
def test_threads_wait_for_each_other_as_the_user_says_or_briefly(
    given: dict[str, str], spins: str | None, program: str
):
    """OpenMP looks when it is loaded, with torch."""
    code = f"""
import os, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            print(os.environ.get("GOMP_SPINCOUNT"), flush=True)
            os._exit(0)
sys.meta_path.insert(0, Finder())
{program}
"""
    unset = {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}
    env = {name: value for name, value in os.environ.items() if name not in unset} | given
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, check=True, capture_output=True, text=True
    )
    assert done.stdout == f"{spins}\n"
