"""The models a server answers with, by name and version. Knows no disk."""

import asyncio
import contextlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch

from dialog_service.checkpoint import CheckpointMeta
from dialog_service.errors import UnknownModel
from dialog_service.generation import ModelLimits, SamplingParameters
from dialog_service.serving.batcher import Batcher, Generates
from dialog_service.serving.blocked_phrases import Blocklist

_RESOURCE = re.compile(r"models/(?P<name>[^/]+)(?:/versions/(?P<version>[^/]+))?")


class ReplyModel(Generates, Protocol):
    """The part of a Generator that serving needs."""

    limits: ModelLimits
    defaults: SamplingParameters
    is_deterministic: bool
    has_matcher: bool
    arithmetic: str
    device: torch.device
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


class Uses:
    """Counts the requests that a model has under way."""

    def __init__(self) -> None:
        """None."""
        self._count = 0
        self._ended = asyncio.Event()

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        """Count a request while the block runs."""
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1
            self._ended.set()

    async def wait_until_none(self) -> None:
        """Return when nothing is under way."""
        while self._count:
            self._ended.clear()
            await self._ended.wait()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ServedModel:
    """A loaded model behind its queue, what its replies may not hold, and who is using it.

    Whoever works with it for a request counts as a use, so that it is not dropped meanwhile.
    """

    loaded: LoadedModel
    batcher: Batcher
    blocklist: Blocklist
    uses: Uses = field(default_factory=Uses)


class ModelRegistry:
    """Models by name; empty until they are loaded."""

    def __init__(self) -> None:
        """No models."""
        self._models: dict[str, dict[str, ServedModel]] = {}

    def add(self, model: ServedModel) -> None:
        """Serve a model; one of the same name and version is replaced."""
        self._models.setdefault(model.loaded.name, {})[model.loaded.version] = model

    def remove(self, model: ServedModel) -> None:
        """Serve a model no more; one that has taken its place stays."""
        loaded = model.loaded
        versions = self._models.get(loaded.name, {})
        if versions.get(loaded.version) is model:
            del versions[loaded.version]
        if not versions:
            self._models.pop(loaded.name, None)

    def __contains__(self, version_name: str) -> bool:
        """Whether there is a version of that full name."""
        return any(model.loaded.version_name == version_name for model in self)

    def is_last_of_default(self, model: ServedModel) -> bool:
        """Whether requests that name no model could not be answered without this one."""
        versions = self._models[self.default().loaded.name]
        return list(versions.values()) == [model]

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


def _age(version: str) -> tuple[bool, list[str | int]]:
    """Sorts versions: numbers by value, other names before them; digits in a name are numbers."""
    parts = re.split(r"(\d+)", version)  # by turns text and digits, so that like meets like
    return version.isdecimal(), [int(p) if p.isdecimal() else p for p in parts]
