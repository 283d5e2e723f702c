"""Compiling a part: once, where there is a compiler, and what is said where that fails."""

import ctypes
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from dialog_service.compiled import BuildError, Source, build, library
from dialog_service.compiled.build import _cache

pytestmark = pytest.mark.skipif(not shutil.which("g++"), reason="no g++")
KERNELS = """
#include "answer.h"
extern "C" int answer() { return kAnswer; }
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no compiler but those that are looked for."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    return tmp_path / "dialog-service"


@pytest.fixture
def source(tmp_path: Path) -> Source:
    """As small a part as there can be."""
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "kernels.cpp").write_text(KERNELS)
    (folder / "answer.h").write_text("constexpr int kAnswer = 42;")
    return Source(folder, "toy")


def without_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")


def test_it_is_compiled_once(source: Source, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = library(source)
    assert [made] == list(cache.iterdir())
    assert made.name.startswith("toy-")
    without_compiler(monkeypatch)
    assert library(source) == made
    assert ctypes.CDLL(str(made)).answer() == 42


def test_other_source_is_compiled_anew(source: Source, cache: Path) -> None:
    made = library(source)
    (source.folder / "answer.h").write_text("constexpr int kAnswer = 43;")
    assert ctypes.CDLL(str(library(source))).answer() == 43
    assert len(list(cache.iterdir())) == 2
    assert ctypes.CDLL(str(made)).answer() == 42


def test_another_torch_has_a_library_of_its_own(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wheels may name their OpenMP after its contents, and a library asks for it by that name."""
    names = set()
    for openmp in ("libgomp-a34b3233.so.1", "libgomp-98b21ff3.so.1"):
        lib = tmp_path / openmp / "lib"
        lib.mkdir(parents=True)
        (lib / openmp).touch()
        monkeypatch.setattr(torch, "__file__", str(lib.parent / "__init__.py"))
        names.add(source.library)
    assert len(names) == 2


def test_several_may_compile_at_once(source: Source, cache: Path) -> None:
    with ThreadPoolExecutor() as pool:
        made = list(pool.map(lambda _: build(source, cache), range(3)))
    assert list(cache.iterdir()) == [made[0]]
    assert ctypes.CDLL(str(made[0])).answer() == 42


def test_no_compiler_is_named(source: Source, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_compiler(monkeypatch)
    with pytest.raises(BuildError, match=r"no C\+\+ compiler: g\+\+ or c\+\+ is not here"):
        library(source)
    monkeypatch.setenv("CXX", "icpx -w")
    with pytest.raises(BuildError, match="icpx is not here"):
        library(source)


def test_a_compiler_that_fails_is_quoted(
    source: Source, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = tmp_path / "cxx"
    monkeypatch.setenv("CXX", str(command))
    for said in ("fatal: no AMX here", "In file included from a.h:\na.h: error: no AMX here"):
        command.write_text(f"#!/bin/sh\necho '{said}' >&2\nexit 1\n")
        command.chmod(0o755)
        with pytest.raises(BuildError, match=r"cxx failed: .*no AMX here"):
            library(source)
    assert not list(cache.iterdir())


def test_a_cache_that_cannot_be_written_is_named(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(BuildError, match="file/dialog-service: Not a directory"):
        library(source)


def test_a_cache_is_not_where_a_relative_path_leads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert _cache() == tmp_path / ".cache" / "dialog-service"


def test_a_user_may_have_no_home(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is but a number: what an installation carries is found all the same."""

    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    with pytest.raises(BuildError, match="no cache: Could not determine home directory"):
        library(source)
    carried = source.folder / source.library
    carried.touch()
    assert library(source) == carried
