"""Compiling a part once, and finding it again.

It is kept under a name made of its source and of what it is linked with: beside the source where an
installation has compiled it in advance (as ``python -m dialog_service.engine.kernels`` does), else
in the user's cache.
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

import torch

_SHARED = Path(__file__).parent
_FLAGS = ("-std=c++17", "-O3", "-shared", "-fPIC", "-fopenmp")
_COMPILERS = ("g++", "c++")
_TIMEOUT_SECONDS = 120


class BuildError(Exception):
    """There is no compiler, it failed, or nothing can be written."""


class Source(NamedTuple):
    """A folder with ``kernels.cpp`` and its headers, and what is compiled from it is called."""

    folder: Path
    name: str

    @property
    def library(self) -> str:
        """Its file."""
        return f"{self.name}-{self._fingerprint()}.so"

    def _fingerprint(self) -> str:
        # Linked with an OpenMP of another build of torch, a library asks for one that is not
        # loaded.
        digest = hashlib.sha256(" ".join((*_FLAGS, *map(os.path.basename, _openmp()))).encode())
        for file in sorted([*self.folder.glob("*.[ch]*"), *_SHARED.glob("*.h")]):
            digest.update(file.read_bytes())
        return digest.hexdigest()[:16]


def library(source: Source) -> Path:
    """What is compiled of a source, now if it never was.

    Raises:
        BuildError: it is not, and cannot be.
    """
    name = source.library
    if (source.folder / name).is_file():
        return source.folder / name
    cache = _cache()
    return cache / name if (cache / name).is_file() else build(source, cache)


def build(source: Source, folder: Path) -> Path:
    """Compile into a folder, which is made; two that do so at once do not disturb each other.

    Raises:
        BuildError: that does not work out here.
    """
    command = [*_compiler(), *_FLAGS, "-I", str(_SHARED), str(source.folder / "kernels.cpp")]
    target = folder / source.library
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix="building-") as room:
            made = Path(room) / target.name
            _run([*command, "-o", str(made), *_openmp()])
            made.replace(target)
    except OSError as error:
        raise BuildError(f"{folder}: {error.strerror or error}") from error
    return target


def _cache() -> Path:
    """Where programs keep what they can make again (XDG Base Directory Specification).

    Raises:
        BuildError: the user has no home.
    """
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        home = named if named.is_absolute() else Path.home() / ".cache"
    except RuntimeError as error:
        raise BuildError(f"no cache: {error}") from error
    return home / "dialog-service"


def _compiler() -> list[str]:
    chosen = os.environ.get("CXX", "").split()
    for command in [chosen] if chosen else [[name] for name in _COMPILERS]:
        if shutil.which(command[0]):
            return command
    names = chosen[0] if chosen else " or ".join(_COMPILERS)
    raise BuildError(f"no C++ compiler: {names} is not here")


def _openmp() -> list[str]:
    """Torch's own OpenMP: threads of a second would take turns with those of the first."""
    return sorted(str(found) for found in (Path(torch.__file__).parent / "lib").glob("libgomp*"))


def _run(command: list[str]) -> None:
    try:
        subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS
        )
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip().splitlines() or ["nothing said"]
        wrong = [line for line in said if "error:" in line] or said  # not where it comes from
        raise BuildError(f"{command[0]} failed: {wrong[0]}") from error
    except subprocess.TimeoutExpired as error:
        raise BuildError(f"{command[0]} took over {_TIMEOUT_SECONDS} s") from error
