"""``dialog-service bench`` as a person meets it."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest
from echo_server import running

PROGRAM = str(Path(sys.executable).with_name("dialog-service"))
SHORT = ("--duration", "0.5", "--clients", "2")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run((PROGRAM, "bench", *arguments), capture_output=True, text=True)


async def bench(*arguments: str, **settings: object) -> subprocess.CompletedProcess[str]:
    async with running(**settings) as service:
        target = ("--target", service.addresses.grpc)
        return await asyncio.to_thread(run, *arguments, *target)


async def test_it_prints_what_happened_and_writes_all_of_it(tmp_path: Path):
    file, lines = tmp_path / "bench.json", tmp_path / "lines"
    lines.write_text("How are you?\n\nWho is there?\n")
    flags = ("--mix", "unary=1", "--json", str(file), "--utterances", str(lines), "--replies", "2")
    done = await bench(*SHORT, *flags)
    report = json.loads(file.read_text())
    assert (done.returncode, done.stderr) == (0, "")
    assert report["statuses"] == {"OK": report["requests"]}
    assert report["asked"]["mix"] == "unary=1"
    for said in ("requests/s", "statuses: OK", "cache: bypass", "hung 0", "p99", "unary", "###"):
        assert said in done.stdout


async def test_what_is_missed_is_said_and_is_an_exit_code(tmp_path: Path):
    lines = tmp_path / "lines"
    lines.write_text("poison\n")
    flags = ("--max-error-share", "0.5", "--max-p99-ms", "0", "--utterances", str(lines))
    done = await bench(*SHORT, "--rate", "20", *flags)
    assert done.returncode == 1
    assert "error share 100.00%, more than 0.5" in done.stderr
    assert "INTERNAL" in done.stdout
    done = await bench(*SHORT, "--max-p99-ms", "0.001")
    assert done.returncode == 1
    assert "above 0.001" in done.stderr


@pytest.mark.parametrize("flags", [("--mix", "loud=1"), ("--utterances", "/absent")])
def test_a_mistake_is_one_line(flags: tuple[str, ...]):
    done = run(*flags)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert flags[0] in done.stderr


def test_a_rate_that_nobody_can_keep_is_refused():
    done = run("--rate", "inf", "--target", "127.0.0.1:1")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--rate" in done.stderr
