"""The models a server answers with: where they lie, what they are called, how they are loaded."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from dialog_service.checkpoint import (
    CONFIG,
    DEFAULT_CHECKPOINT,
    VOCABULARY,
    WEIGHTS,
    CheckpointMeta,
    checkpoint_directory,
    load_checkpoint,
)
from dialog_service.errors import ConfigError, UnknownModel
from dialog_service.generation import (
    GenerationRequest,
    Generator,
    ModelLimits,
    SamplingParameters,
)
from dialog_service.serving.batcher import Batcher, Generates
from dialog_service.serving.blocked_phrases import Blocklist
from dialog_service.serving.settings import Settings

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_RESOURCE = re.compile(r"models/(?P<name>[^/]+)(?:/versions/(?P<version>[^/]+))?")


class ReplyModel(Generates, Protocol):
    """The part of a Generator that serving needs."""

    limits: ModelLimits
    defaults: SamplingParameters
    is_deterministic: bool
    meta: CheckpointMeta

    def truncates(self, turns: Sequence[str]) -> bool:
        """Whether turns hold more than the model can use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """One version of one model, ready to generate.

    ``fingerprint`` is a digest of the checkpoint: two trainings may share a name and a version, but
    no pool of candidates.
    """

    name: str
    version: str
    fingerprint: str
    generator: ReplyModel

    @property
    def model_name(self) -> str:
        """The name of all its versions: models/{name}."""
        return f"models/{self.name}"

    @property
    def version_name(self) -> str:
        """The name of this one: models/{name}/versions/{version}."""
        return f"{self.model_name}/versions/{self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """A loaded model behind its queue, and what its replies may not hold."""

    loaded: LoadedModel
    batcher: Batcher
    blocklist: Blocklist


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """A checkpoint directory; what ``name`` and ``version`` leave open its own meta says."""

    directory: Path
    name: str = ""
    version: str = ""


class ModelRegistry:
    """Models by name; empty until they are loaded."""

    def __init__(self) -> None:
        """No models."""
        self._models: dict[str, dict[str, ServedModel]] = {}

    def add(self, model: ServedModel) -> None:
        """Serve a model; one of the same name and version is replaced."""
        self._models.setdefault(model.loaded.name, {})[model.loaded.version] = model

    def __iter__(self) -> Iterator[ServedModel]:
        """Every version, ordered by name, newest first."""
        for name in sorted(self._models):
            versions = self._models[name]
            yield from (versions[key] for key in sorted(versions, key=_age, reverse=True))

    def default(self) -> ServedModel:
        """Newest version of the model called "default", or else of the first by name.

        Raises:
            UnknownModel: there are no models.
        """
        if not self._models:
            raise UnknownModel("", [])
        name = "default" if "default" in self._models else min(self._models)
        return self._newest(name)

    def resolve(self, resource: str) -> ServedModel:
        """The model a caller names.

        Args:
            resource: "models/{name}", "models/{name}/versions/{version}", or empty for the default.

        Raises:
            UnknownModel: there is none of that name; carries the names there are.
        """
        if not resource:
            return self.default()
        match = _RESOURCE.fullmatch(resource)
        versions = self._models.get(match["name"], {}) if match else {}
        if match and versions and match["version"] is None:
            return self._newest(match["name"])
        if match and match["version"] in versions:
            return versions[match["version"]]
        raise UnknownModel(resource[:100], [model.loaded.version_name for model in self])

    def _newest(self, name: str) -> ServedModel:
        versions = self._models[name]
        return versions[max(versions, key=_age)]


def locations(settings: Settings) -> list[Location]:
    """Where the models to serve lie.

    Raises:
        ConfigError: the directory of models is missing, empty, or holds what is no model's name.
    """
    if settings.model:
        return [Location(directory=settings.model)]
    if not settings.models:
        return [Location(directory=DEFAULT_CHECKPOINT)]
    root = settings.models
    if not root.is_dir():
        raise ConfigError(f"{root}: no such directory of models")
    found = [
        Location(directory=version, name=name.name, version=version.name)
        for name in _subdirectories(root)
        for version in _subdirectories(name)
    ]
    if not found:
        raise ConfigError(f"{root}: no models there; expected NAME/VERSION/config.json")
    return found


def load_model(location: Location, settings: Settings) -> LoadedModel:
    """Load one checkpoint and generate once with it, so that the first caller does not wait.

    Raises:
        CheckpointError, ConfigError: as ``load_checkpoint`` and ``Generator``.
    """
    directory = checkpoint_directory(location.directory)
    checkpoint = load_checkpoint(directory)
    generator = Generator(
        checkpoint,
        device=settings.device,
        precision=settings.precision,
        max_context_tokens=settings.max_input_tokens,
    )
    for reply_count in (1, settings.max_batch_sequences):
        generator.generate([_warm_up(reply_count, generator.defaults)])
    return LoadedModel(
        name=location.name or _name(checkpoint.meta.variant),
        version=location.version or _name(checkpoint.meta.version),
        fingerprint=_fingerprint(directory, generator.limits.max_context_tokens),
        generator=generator,
    )


def _warm_up(reply_count: int, sampling: SamplingParameters) -> GenerationRequest:
    return GenerationRequest(turns=("hello",), reply_count=reply_count, sampling=sampling, seed=0)


def _fingerprint(directory: Path, max_context_tokens: int) -> str:
    """Digest of what decides a model's replies, 16 hexadecimal digits."""
    digest = hashlib.sha256(str(max_context_tokens).encode())
    for name in (CONFIG, VOCABULARY, WEIGHTS):
        digest.update(hashlib.sha256((directory / name).read_bytes()).digest())
    return digest.hexdigest()[:16]


def _subdirectories(directory: Path) -> list[Path]:
    """Those that are not hidden (as checkpoints being written are), by name."""
    found = [p for p in directory.iterdir() if p.is_dir() and not p.name.startswith(".")]
    return sorted(p for p in found if _name(p.name))


def _name(name: str) -> str:
    """The name itself.

    Raises:
        ConfigError: it cannot stand in "models/{name}/versions/{version}".
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{name!r} cannot be a model's name or version: letters, digits, . _ -")
    return name


def _age(version: str) -> tuple[int, str]:
    """Sorts versions: numbers by value, other names before them."""
    return (int(version), "") if version.isdecimal() else (-1, version)
