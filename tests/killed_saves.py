"""Saves checkpoints in processes that kill themselves at given moments: CHECKPOINT FOLDER MOMENT...

For every moment, FOLDER/moment/saved holds a checkpoint of version "old" over which one of
version "new" was being saved.
"""

import os
import shutil
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from dialog_service import checkpoint as module
from dialog_service.checkpoint import WEIGHTS, Checkpoint, load_checkpoint, save_checkpoint


def die(*_: object) -> None:
    """As by a kill -9: no handler runs, nothing is cleaned up."""
    os.kill(os.getpid(), signal.SIGKILL)


def die_around(owner: Any, name: str, *, call: int = 1, before: bool = False) -> None:
    """Die before or after the given call of a function."""
    function, calls = getattr(owner, name), []

    def counted(*arguments: object, **options: object) -> object:
        calls.append(name)
        if before and len(calls) == call:
            die()
        result = function(*arguments, **options)
        if not before and len(calls) == call:
            die()
        return result

    setattr(owner, name, counted)


def half_of_the_weights(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data[: len(data) // 2 if path.name == WEIGHTS else None])
    if path.name == WEIGHTS:
        die()


def prepare(moment: str) -> None:
    """Arrange for the death of this process."""
    match moment:
        case "nothing is written":
            die_around(Path, "write_text", before=True)
        case "half the weights are written":
            Path.write_bytes = half_of_the_weights  # type: ignore[method-assign, assignment]
        case "all is written":
            die_around(os, "fsync", before=True)
        case "all is flushed":
            die_around(module, "_exchange", before=True)
        case "the two have changed places":
            die_around(module, "_exchange")
        case "the old one has stepped aside":
            module._exchange = lambda one, other: False
            die_around(Path, "rename", call=1)
        case "the new one has taken its place":
            module._exchange = lambda one, other: False
            die_around(Path, "rename", call=2)
        case "all is done":
            die_around(module, "save_checkpoint")


def save_and_die(checkpoint: Checkpoint, directory: Path, moment: str) -> None:
    """Save in a child process; this one goes on once it is dead."""
    child = os.fork()
    if child == 0:
        prepare(moment)
        module.save_checkpoint(checkpoint, directory)
        os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), f"the save survived {moment!r}"


def main(source: Path, folder: Path, moments: list[str]) -> None:
    loaded = load_checkpoint(source)
    old, new = (
        replace(loaded, meta=loaded.meta.model_copy(update={"version": version}))
        for version in ("old", "new")
    )
    save_checkpoint(old, folder / "old")
    for moment in moments:
        directory = folder / moment / "saved"
        shutil.copytree(folder / "old", directory)
        save_and_die(new, directory, moment)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
