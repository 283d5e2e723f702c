"""The folder of a run: one run each, its config read back."""

from pathlib import Path

import pytest

from dialog_service.errors import ConfigError
from train.config import RunConfig
from train.presets import SMALL
from train.run_folder import RunFolder
from train.variants import wed_s


@pytest.fixture
def config() -> RunConfig:
    return wed_s(SMALL)


def begun(path: Path, config: RunConfig) -> RunFolder:
    folder = RunFolder(path)
    folder.begin(config, config.resolved(vocab_size=50, mean_target_tokens=10.0, planned_steps=9))
    return folder


def test_the_config_as_asked_for_is_read_back(tmp_path: Path, config: RunConfig):
    folder = begun(tmp_path / "runs" / "a", config)
    assert folder.asked_config() == config
    assert sorted(path.name for path in folder.path.iterdir()) == ["resolved.json", "run.json"]


def test_the_config_made_concrete_is_kept_beside_it(tmp_path: Path, config: RunConfig):
    folder = begun(tmp_path / "a", config)
    resolved = RunConfig.model_validate_json((folder.path / "resolved.json").read_text())
    assert resolved.model.vocab_size == 50
    assert resolved.objective.terms[0].weight == 100.0


@pytest.mark.parametrize("taken", ["run.json", "best", "training"])
def test_no_run_overwrites_another(tmp_path: Path, taken: str):
    folder = RunFolder(tmp_path)
    folder.refuse_overwriting()
    (tmp_path / "nohup.out").touch()
    folder.refuse_overwriting()
    (tmp_path / taken).mkdir()
    with pytest.raises(ConfigError, match=f"{taken} is there already; add --resume to continue"):
        folder.refuse_overwriting()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, config: RunConfig):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"--output .*/file/run: Not a directory"):
        begun(tmp_path / "file" / "run", config)


def test_no_run_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"--resume: no run in .*run\.json: No such file"):
        RunFolder(tmp_path).asked_config()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"variant": "wed_s"}'])
def test_a_damaged_config_is_named(tmp_path: Path, content: str):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(ConfigError, match=r"--resume: .*run\.json: not a run's config") as caught:
        RunFolder(tmp_path).asked_config()
    assert "\n" not in str(caught.value)
