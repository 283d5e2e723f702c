"""The engine's kernels where there is a compiler and where there is none, in images and without."""

import os
import platform
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import dialog_service
from dialog_service.engine.kernels.kernels import SOURCE, _look_for_kernels

pytestmark = pytest.mark.skipif(
    not torch.cpu._is_vnni_supported() or not shutil.which("g++"),
    reason="no instructions for 8-bit integers, or no g++",
)
ANSWER = """
from dialog_service.checkpoint import DEFAULT_CHECKPOINT
from dialog_service.generation import GenerationRequest, Generator
generator = Generator.load(DEFAULT_CHECKPOINT, device="cpu")
(found,) = generator.generate(
    [GenerationRequest(turns=("Hello!",), reply_count=3, sampling=generator.defaults, seed=1)]
)
print(generator.arithmetic)
print(generator.precision, [candidate.text for candidate in found.candidates])
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no compiler but those that are looked for."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    return tmp_path / "dialog-service"


def without_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")


def test_a_spoilt_library_is_no_reason_to_stop(cache: Path) -> None:
    path = cache / SOURCE.library
    path.parent.mkdir()
    path.write_bytes(b"no library")
    found = _look_for_kernels.__wrapped__()
    assert str(found).startswith("which takes two to four times as long as compiled kernels")
    assert str(path) in str(found)


def test_without_a_compiler_replies_are_the_same_but_for_digits(cache: Path) -> None:
    with_one, without = (
        subprocess.run(
            [sys.executable, "-c", ANSWER],
            env={**os.environ, "PATH": path, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        )
        for path in (os.environ["PATH"], "/nowhere")
        if path != "/nowhere" or shutil.rmtree(cache) is None
    )
    (arithmetic, *replies), (other, *same) = (
        done.stdout.splitlines() for done in (with_one, without)
    )
    assert replies == same
    assert replies[0].startswith("int8 ['")
    assert arithmetic.startswith("int8 (compiled for A")
    assert other.startswith("int8 (torch, which takes ")
    assert other.endswith("no C++ compiler: g++ or c++ is not here)")
    assert with_one.stderr == without.stderr == ""


def test_an_installation_may_carry_them(cache: Path, tmp_path: Path) -> None:
    """As an image does, whose user has neither a compiler nor a home."""
    root = Path(dialog_service.__file__).parent
    shutil.copytree(
        root,
        tmp_path / "site" / "dialog_service",
        ignore=shutil.ignore_patterns("checkpoints", "__pycache__"),
    )
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    command = [sys.executable, "-m", "dialog_service.engine.kernels"]
    made = subprocess.run(command, env=env, capture_output=True, text=True, check=True, cwd="/")
    assert Path(made.stdout.strip()).parent == tmp_path / "site/dialog_service/engine/kernels"
    found = subprocess.run(
        [
            sys.executable,
            "-c",
            "from dialog_service.engine.kernels import *; print(find_kernels())",
        ],
        env={**env, "PATH": "/nowhere"},
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
    )
    assert "Kernels(" in found.stdout
    assert not cache.exists()


def test_an_image_for_another_processor_carries_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And is built, though nothing there compiles them."""
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    without_compiler(monkeypatch)
    with pytest.raises(SystemExit) as end:
        runpy.run_module("dialog_service.engine.kernels", run_name="__main__")
    assert not end.value.code
    assert capsys.readouterr().out == "no kernels for aarch64\n"
