"""Names of models and versions."""

import pytest
from echo_server import EchoModel, loaded

from dialog_service.errors import UnknownModel
from dialog_service.serving.batcher import Batcher, BatchLimits
from dialog_service.serving.blocked_phrases import Blocklist
from dialog_service.serving.metrics import Metrics
from dialog_service.serving.registry import ModelRegistry, ServedModel


def registry_of(*names: tuple[str, str]) -> ModelRegistry:
    registry, metrics = ModelRegistry(), Metrics()
    for name, version in names:
        model = EchoModel()
        batcher = Batcher(model, BatchLimits(), metrics)
        served = loaded(model, name=name, version=version)
        blocklist = Blocklist(None, lambda: None)
        registry.add(ServedModel(loaded=served, batcher=batcher, blocklist=blocklist))
    return registry


def found(registry: ModelRegistry, resource: str) -> str:
    return registry.resolve(resource).loaded.version_name


def test_a_model_is_found_by_its_names():
    registry = registry_of(("wed", "9"), ("wed", "10"), ("ded", "1"))
    assert found(registry, "models/wed") == "models/wed/versions/10"
    assert found(registry, "models/wed/versions/9") == "models/wed/versions/9"
    assert found(registry, "") == "models/ded/versions/1"


def test_the_model_called_default_is_the_default():
    registry = registry_of(("a", "1"), ("default", "2"))
    assert found(registry, "") == "models/default/versions/2"


def test_models_are_listed_by_name_newest_first():
    versions = ("9", "v9", "10", "v10", "old")
    registry = registry_of(("ded", "1"), *(("wed", version) for version in versions))
    assert [model.loaded.version_name for model in registry] == [
        "models/ded/versions/1",
        "models/wed/versions/10",
        "models/wed/versions/9",
        "models/wed/versions/v10",
        "models/wed/versions/v9",
        "models/wed/versions/old",
    ]


@pytest.mark.parametrize(
    "resource",
    ["wed", "models/", "models/cvae", "models/wed/versions/3", "models/wed/9", "x" * 999],
)
def test_an_unknown_model_is_answered_with_those_there_are(resource: str):
    with pytest.raises(UnknownModel) as refusal:
        registry_of(("wed", "9")).resolve(resource)
    assert refusal.value.known == ("models/wed/versions/9",)
    assert len(str(refusal.value)) < 200


def test_no_models_at_all():
    with pytest.raises(UnknownModel):
        ModelRegistry().resolve("")
