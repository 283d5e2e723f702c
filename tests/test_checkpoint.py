"""Checkpoints: what is written is read back, what does not fit is named, a cut save is whole."""

import json
import os
import pickle
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from dialog_service import checkpoint as module
from dialog_service.checkpoint import (
    BEST,
    CONFIG,
    META,
    VOCABULARY,
    WEIGHTS,
    Checkpoint,
    DirectoryReplacement,
    load_checkpoint,
    recovered,
    save_checkpoint,
)
from dialog_service.errors import CheckpointError
from dialog_service.vocabulary import Vocabulary

Damage = Callable[[Path], object]


@pytest.fixture(scope="module")
def loaded(tiny_checkpoint: Path) -> Checkpoint:
    return load_checkpoint(tiny_checkpoint)


@pytest.fixture
def copy(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_checkpoint, tmp_path / "copy")


def renamed(checkpoint: Checkpoint, version: str) -> Checkpoint:
    return replace(checkpoint, meta=checkpoint.meta.model_copy(update={"version": version}))


def version(directory: Path) -> str:
    return load_checkpoint(directory).meta.version


def traces(directory: Path) -> list[str]:
    """What lies beside a checkpoint."""
    return sorted(p.name for p in directory.parent.iterdir() if p != directory)


def test_loading_draws_no_numbers(tiny_checkpoint: Path) -> None:
    before = torch.get_rng_state()
    load_checkpoint(tiny_checkpoint)
    assert torch.equal(torch.get_rng_state(), before)


def test_round_trip(loaded: Checkpoint, tmp_path: Path) -> None:
    figures = {"nll": 3.25, "channel_nats": float("inf")}
    saved = replace(loaded, meta=loaded.meta.model_copy(update={"metrics": figures}))
    save_checkpoint(saved, tmp_path / "new")
    again = load_checkpoint(tmp_path / "new")
    assert again.meta == saved.meta
    assert again.sampling == saved.sampling
    assert again.model.config == saved.model.config
    assert again.vocabulary.model_proto == saved.vocabulary.model_proto
    assert not again.model.training
    before, after = saved.model.state_dict(), again.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert traces(tmp_path / "new") == []


def test_a_run_stands_for_its_best_checkpoint(loaded: Checkpoint, tmp_path: Path) -> None:
    save_checkpoint(renamed(loaded, "of the run"), tmp_path / "run" / BEST)
    assert version(tmp_path / "run") == "of the run"


def test_a_tied_weight_is_stored_once(tiny_checkpoint: Path) -> None:
    names = load_file(tiny_checkpoint / WEIGHTS).keys()
    assert "embedding.weight" in names
    assert not {"decoder.output.weight", "decoder.embedding.weight"} & names


def test_half_precision_halves_the_file_and_loads_in_full(
    loaded: Checkpoint, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    save_checkpoint(loaded, tmp_path / "half", dtype=torch.float16)
    sizes = [(path / WEIGHTS).stat().st_size for path in (tmp_path / "half", tiny_checkpoint)]
    assert sizes[0] < 0.6 * sizes[1]
    before, after = loaded.model, load_checkpoint(tmp_path / "half").model
    for whole, rounded in zip(before.parameters(), after.parameters(), strict=True):
        assert whole.dtype == rounded.dtype == torch.float32
        assert torch.equal(whole.half().float(), rounded)


def test_every_file_is_as_readable_as_the_others(tiny_checkpoint: Path) -> None:
    assert len({path.stat().st_mode for path in tiny_checkpoint.iterdir()}) == 1


def edit(name: str, change: Callable[[dict[str, dict[str, object]]], object]) -> Damage:
    """Change a JSON file."""

    def damage(directory: Path) -> None:
        document = json.loads((directory / name).read_text())
        change(document)
        (directory / name).write_text(json.dumps(document))

    return damage


def edit_weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Damage:
    """Change the stored tensors."""

    def damage(directory: Path) -> None:
        tensors = load_file(directory / WEIGHTS)
        change(tensors)
        save_file(tensors, directory / WEIGHTS)

    return damage


def truncate(name: str) -> Damage:
    return lambda directory: os.truncate(directory / name, 100)


def other_vocabulary(directory: Path) -> None:
    small = Vocabulary.fit(["a b c d ."] * 9, size=20, mode="word")
    (directory / VOCABULARY).write_bytes(small.model_proto)


def pickled_weights(directory: Path) -> None:
    with (directory / WEIGHTS).open("wb") as file:
        pickle.dump({"embedding.weight": torch.zeros(2)}, file)


@pytest.mark.parametrize(
    ("damage", "file", "complaint"),
    [
        (shutil.rmtree, "", "no such checkpoint directory"),
        (lambda d: (d / CONFIG).unlink(), CONFIG, "No such file"),
        (lambda d: (d / META).unlink(), META, "No such file"),
        (lambda d: (d / VOCABULARY).unlink(), VOCABULARY, "No such file"),
        (lambda d: (d / WEIGHTS).unlink(), WEIGHTS, "No such file"),
        (truncate(CONFIG), CONFIG, "the whole file: Invalid JSON"),
        (truncate(VOCABULARY), VOCABULARY, "not a SentencePiece model"),
        (truncate(WEIGHTS), WEIGHTS, "invalid header length"),
        (edit(CONFIG, lambda c: c.update(format=2)), CONFIG, "format: Input should be 1"),
        (edit(CONFIG, lambda c: c["model"].update(hue=1)), CONFIG, "model.hue: Extra inputs"),
        (
            edit(CONFIG, lambda c: c["model"]["encoder"].update(hidden_size=0)),
            CONFIG,
            "model.encoder.lstm.hidden_size: Input should be greater than 0",
        ),
        (
            edit(CONFIG, lambda c: c["model"]["prior"].update(kind="flow")),
            CONFIG,
            "'none', 'standard_normal'",
        ),
        (edit(META, lambda m: m.pop("commit")), META, "commit: Field required"),
        (other_vocabulary, VOCABULARY, "has 9 entries, config.json says model.vocab_size"),
        (
            edit(CONFIG, lambda c: c["model"]["decoder"].update(hidden_size=8)),
            WEIGHTS,
            r"decoder.projection.weight is \(24, 32\), config.json says \(24, 8\)",
        ),
        (
            edit_weights(lambda w: w.pop("posterior.loc.bias")),
            WEIGHTS,
            "posterior.loc.bias is missing",
        ),
        (
            edit_weights(lambda w: w.update(critic=torch.zeros(1))),
            WEIGHTS,
            "critic is unknown to this model",
        ),
        (
            edit_weights(lambda w: w["posterior.loc.bias"].fill_(torch.nan)),
            WEIGHTS,
            "posterior.loc.bias holds values that are not finite",
        ),
        (pickled_weights, WEIGHTS, "header"),
    ],
)
def test_what_does_not_fit_is_named(damage: Damage, file: str, complaint: str, copy: Path) -> None:
    damage(copy)
    with pytest.raises(CheckpointError, match=complaint) as caught:
        load_checkpoint(copy)
    assert str(caught.value).startswith(str(copy / file))
    assert "\n" not in str(caught.value)


def test_loading_unpickles_nothing(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("unpickled")

    for owner, name in ((pickle, "load"), (pickle, "loads"), (torch, "load")):
        monkeypatch.setattr(owner, name, refuse)
    load_checkpoint(copy)


@pytest.mark.parametrize("can_exchange", [True, False])
def test_a_checkpoint_takes_the_place_of_another(
    can_exchange: bool, loaded: Checkpoint, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not can_exchange:
        monkeypatch.setattr(module, "_exchange", lambda one, other: False)
    (copy / "stray").touch()
    save_checkpoint(renamed(loaded, "new"), copy)
    assert version(copy) == "new"
    assert not (copy / "stray").exists()
    assert traces(copy) == []


@contextmanager
def files_of_at_most(limit: int) -> Iterator[None]:
    """No file may grow beyond ``limit`` bytes, as on a disk that is nearly full."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


@pytest.mark.parametrize("limit", [16, 20_000])  # not even the config; all but the weights
def test_a_full_disk_leaves_the_old_one(limit: int, loaded: Checkpoint, copy: Path) -> None:
    with (
        files_of_at_most(limit),
        pytest.raises(CheckpointError, match="cannot write the checkpoint: File too large"),
    ):
        save_checkpoint(renamed(loaded, "new"), copy)
    assert version(copy) == "1"
    assert traces(copy) == []


def test_a_move_that_fails_leaves_the_old_one(
    loaded: Checkpoint, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def fails_for_the_new(self: Path, target: Path) -> Path:
        if ".writing-" in self.name:
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(module, "_exchange", lambda one, other: False)
    monkeypatch.setattr(Path, "rename", fails_for_the_new)
    with pytest.raises(CheckpointError, match="No space left on device"):
        save_checkpoint(renamed(loaded, "new"), copy)
    assert copy.is_dir()  # not only once it is put back
    assert version(copy) == "1"
    assert traces(copy) == []


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_file_is_not_written_over(place: str, loaded: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    with pytest.raises(CheckpointError, match="cannot write the checkpoint"):
        save_checkpoint(loaded, tmp_path / place)
    assert (tmp_path / "file").read_text() == "precious"
    assert traces(tmp_path / "file") == []


def test_an_error_of_the_writer_passes_and_leaves_the_old_one(copy: Path) -> None:
    with pytest.raises(ZeroDivisionError), DirectoryReplacement(copy) as aside:
        (aside / CONFIG).write_text(str(1 // 0))
    assert version(copy) == "1"
    assert traces(copy) == []


def test_leftovers_of_the_dead_go_and_of_the_living_stay(copy: Path) -> None:
    living, dead = os.getppid(), 2**22 + 1  # above every process number
    for process in (living, dead):
        copy.with_name(f".copy.writing-{process}").mkdir()
    assert recovered(copy) == copy
    assert traces(copy) == [f".copy.writing-{living}"]


MOMENTS = {
    "nothing is written": "old",
    "half the weights are written": "old",
    "all is written": "old",
    "all is flushed": "old",
    "the two have changed places": "new",
    "the old one has stepped aside": "old",
    "the new one has taken its place": "new",
    "all is done": "new",
}


@pytest.fixture(scope="module")
def killed_saves(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for each moment, in which a save was killed at that moment."""
    folder = tmp_path_factory.mktemp("killed")
    script = Path(__file__).with_name("killed_saves.py")
    command = [sys.executable, str(script), str(tiny_checkpoint), str(folder), *MOMENTS]
    return subprocess.run(command, check=True, timeout=100) and folder


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_save_leaves_the_old_one_or_the_new_one(moment: str, killed_saves: Path) -> None:
    directory = killed_saves / moment / "saved"
    assert version(directory) == MOMENTS[moment]
    assert traces(recovered(directory)) == []
    assert version(directory) == MOMENTS[moment]


def test_a_model_without_a_matcher_is_written_as_before_there_were_any(
    tiny_checkpoint: Path, matched_checkpoint: Path
) -> None:
    written = [
        json.loads((place / "config.json").read_text())["model"]
        for place in (tiny_checkpoint, matched_checkpoint)
    ]
    assert ["matcher" in each for each in written] == [False, True]
    assert load_checkpoint(tiny_checkpoint).model.matcher is None
    assert load_checkpoint(matched_checkpoint).model.matcher is not None
