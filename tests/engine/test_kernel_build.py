"""Compiling the kernels: once, where there is a compiler; without one replies come all the same."""

import ctypes
import os
import platform
import runpy
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

import dialog_service
from dialog_service.engine.kernels import build as building
from dialog_service.engine.kernels.build import BuildError, build, library
from dialog_service.engine.kernels.kernels import _look_for_kernels

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


def test_they_are_compiled_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = library()
    assert [made] == list(cache.iterdir())
    without_compiler(monkeypatch)
    assert library() == made


def test_other_source_is_compiled_anew(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = library()
    source = tmp_path / "source"
    shutil.copytree(building._SOURCE, source)
    (source / "numbers.h").write_text((source / "numbers.h").read_text() + "// another\n")
    monkeypatch.setattr(building, "_SOURCE", source)
    assert library() != made


def test_another_torch_has_kernels_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wheels may name their OpenMP after its contents, and a library asks for it by that name."""
    names = set()
    for openmp in ("libgomp-a34b3233.so.1", "libgomp-98b21ff3.so.1"):
        lib = tmp_path / openmp / "lib"
        lib.mkdir(parents=True)
        (lib / openmp).touch()
        monkeypatch.setattr(torch, "__file__", str(lib.parent / "__init__.py"))
        names.add(building._fingerprint())
    assert len(names) == 2


def test_several_may_compile_at_once(cache: Path) -> None:
    with ThreadPoolExecutor() as pool:
        made = list(pool.map(build, [cache] * 3))
    assert list(cache.iterdir()) == [made[0]]
    assert ctypes.CDLL(str(made[0])).choose_words


def test_no_compiler_is_named(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_compiler(monkeypatch)
    with pytest.raises(BuildError, match=r"no C\+\+ compiler: g\+\+ or c\+\+ is not here"):
        library()
    monkeypatch.setenv("CXX", "icpx -w")
    with pytest.raises(BuildError, match="icpx is not here"):
        library()


def test_a_compiler_that_fails_is_quoted(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = tmp_path / "cxx"
    monkeypatch.setenv("CXX", str(command))
    for said in ("fatal: no AMX here", "In file included from a.h:\na.h: error: no AMX here"):
        command.write_text(f"#!/bin/sh\necho '{said}' >&2\nexit 1\n")
        command.chmod(0o755)
        with pytest.raises(BuildError, match=r"cxx failed: .*no AMX here"):
            library()
    assert not list(cache.iterdir())


def test_a_cache_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(BuildError, match="file/dialog-service: Not a directory"):
        library()


def test_a_cache_is_not_where_a_relative_path_leads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert building._cache() == tmp_path / ".cache" / "dialog-service"


def test_a_user_may_have_no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is but a number: what an installation carries is found all the same."""

    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    monkeypatch.setattr(building, "_SOURCE", tmp_path)
    found = _look_for_kernels.__wrapped__()
    assert str(found).endswith("no cache: Could not determine home directory.")
    carried = tmp_path / f"kernels-{building._fingerprint()}.so"
    carried.touch()
    assert library() == carried


def test_a_spoilt_library_is_no_reason_to_stop(cache: Path) -> None:
    path = library()
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
