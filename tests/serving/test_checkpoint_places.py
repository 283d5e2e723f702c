"""Where checkpoints lie, whether they have changed, and loading a real one."""

import os
import shutil
import time
from pathlib import Path

import pytest

from dialog_service.errors import CheckpointError, ConfigError
from dialog_service.generation import GenerationRequest, Generator
from dialog_service.serving.checkpoint_places import Location, load_model, locations
from dialog_service.serving.settings import Settings


def test_where_the_models_lie(tmp_path: Path):
    for path in ("wed/1", "wed/2", "ded/7", ".trash/1", "wed/.3.writing-1"):
        (tmp_path / path).mkdir(parents=True)
    (tmp_path / "README").write_text("a file")
    assert locations(Settings(models=tmp_path)) == [
        Location(directory=tmp_path / "ded/7", name="ded", version="7"),
        Location(directory=tmp_path / "wed/1", name="wed", version="1"),
        Location(directory=tmp_path / "wed/2", name="wed", version="2"),
    ]
    assert locations(Settings(model=tmp_path)) == [Location(directory=tmp_path)]


def test_directories_of_models_that_cannot_be_served(tmp_path: Path):
    with pytest.raises(ConfigError, match="no such directory"):
        locations(Settings(models=tmp_path / "absent"))
    with pytest.raises(ConfigError, match="no models there"):
        locations(Settings(models=tmp_path))
    (tmp_path / "lost+found/1").mkdir(parents=True)
    with pytest.raises(ConfigError, match="no models there"):
        locations(Settings(models=tmp_path))


def test_a_directory_that_nobody_may_read_is_not_an_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("os.scandir", refuse)  # whoever runs this may read everything
    with pytest.raises(ConfigError, match=f"{tmp_path}: Permission denied"):
        locations(Settings(models=tmp_path))


def test_a_name_that_nobody_could_ask_for(tiny_checkpoint: Path):
    for name in ({"name": "not a name"}, {"version": "1/2"}):
        with pytest.raises(ConfigError, match="cannot be a model's name"):
            load_model(Location(directory=tiny_checkpoint, **name), Settings())


def test_a_model_is_warmed_up_for_one_and_for_a_full_batch_and_not_for_long(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
):
    asked: list[GenerationRequest] = []
    monkeypatch.setattr(Generator, "generate", lambda _, requests: asked.extend(requests))
    load_model(Location(directory=tiny_checkpoint), Settings(max_batch_sequences=48))
    assert [request.reply_count for request in asked] == [1, 48]
    assert {request.sampling.max_tokens for request in asked} == {2}


def test_a_stamp_tells_what_was_written_whatever_its_times_say(
    tiny_checkpoint: Path, tmp_path: Path
):
    directory = shutil.copytree(tiny_checkpoint, tmp_path / "1")
    location, stamps = Location(directory=directory), []
    weights = directory / "weights.safetensors"
    for change in (
        lambda: None,
        lambda: weights.write_bytes(weights.read_bytes()),
        lambda: os.utime(weights, ns=(1, 1)),
        lambda: (directory / "meta.json").unlink(),
        lambda: shutil.rmtree(directory),
        lambda: shutil.copytree(tiny_checkpoint, directory),
    ):
        time.sleep(0.02)  # a clock that tells file from file ticks
        change()
        stamps.append(location.stamp())
        assert location.stamp() == stamps[-1]
    assert len(set(stamps)) == len(stamps)


def test_a_real_checkpoint_names_itself_and_replies(tiny_checkpoint: Path):
    model = load_model(Location(directory=tiny_checkpoint), Settings())
    assert model.version_name == "models/wed_s/versions/1"
    request = GenerationRequest(
        turns=("the soup",), reply_count=3, sampling=model.generator.defaults, seed=5
    )
    [result] = model.generator.generate([request], lambda _: False)
    assert result is not None
    assert len(result.candidates) == 3


def test_a_run_directory_is_served_by_its_best_checkpoint(tiny_checkpoint: Path, tmp_path: Path):
    shutil.copytree(tiny_checkpoint, tmp_path / "run" / "best")
    from_run, direct = (
        load_model(Location(directory=directory), Settings())
        for directory in (tmp_path / "run", tiny_checkpoint)
    )
    assert from_run.fingerprint == direct.fingerprint
    assert from_run.version_name == direct.version_name


def test_a_directory_may_name_a_checkpoint_otherwise(tiny_checkpoint: Path):
    location = Location(directory=tiny_checkpoint, name="mine", version="12")
    assert load_model(location, Settings()).version_name == "models/mine/versions/12"


@pytest.mark.parametrize(
    "text", ["the soup", "the soup was really good", "the train looks late today. " * 9]
)
def test_what_is_measured_is_what_the_generator_truncates(tiny_checkpoint: Path, text: str):
    model = load_model(Location(directory=tiny_checkpoint), Settings())
    request = GenerationRequest(
        turns=(text,), reply_count=1, sampling=model.generator.defaults, seed=5
    )
    [result] = model.generator.generate([request], lambda _: False)
    assert result is not None
    assert model.generator.truncates((text,)) == result.context_truncated
    assert model.generator.truncates((text, text))


def test_dialogs_are_cut_to_the_tokens_that_the_settings_allow(tiny_checkpoint: Path):
    location, text = Location(directory=tiny_checkpoint), "the soup was really good"
    whole, cut, most = (
        load_model(location, Settings(max_input_tokens=tokens)) for tokens in (None, 3, 999)
    )
    assert [m.generator.limits.max_context_tokens for m in (whole, cut, most)] == [16, 3, 16]
    assert [m.generator.truncates((text,)) for m in (whole, cut, most)] == [False, True, False]
    # Replies to less of a dialog are others, and have pools of their own.
    assert whole.fingerprint == most.fingerprint != cut.fingerprint
    for model, is_the_same in ((whole, False), (cut, True)):
        [one, other] = model.generator.generate(
            [
                GenerationRequest(
                    turns=(start + text,), reply_count=3, sampling=model.generator.defaults, seed=5
                )
                for start in ("", "my sister: ")
            ],
            lambda _: False,
        )
        assert (one.candidates == other.candidates) == is_the_same
        assert one.context_truncated == is_the_same


def test_other_weights_have_another_fingerprint(tiny_checkpoint: Path, tmp_path: Path):
    copy = shutil.copytree(tiny_checkpoint, tmp_path / "copy")
    original = load_model(Location(directory=tiny_checkpoint), Settings())
    (copy / "meta.json").write_text((copy / "meta.json").read_text().replace("tiny", "other"))
    assert load_model(Location(directory=copy), Settings()).fingerprint == original.fingerprint
    weights = bytearray((copy / "weights.safetensors").read_bytes())
    weights[-1] ^= 1 << 4
    (copy / "weights.safetensors").write_bytes(weights)
    assert load_model(Location(directory=copy), Settings()).fingerprint != original.fingerprint


def test_a_directory_that_is_no_checkpoint(tmp_path: Path):
    with pytest.raises(CheckpointError):
        load_model(Location(directory=tmp_path), Settings())
