"""``--set path=value``: one value of a run's config, by its path."""

import json
from typing import Any

from pydantic import ValidationError

from dialog_service.errors import ConfigError
from train.config import RunConfig


def overridden(config: RunConfig, assignments: list[str]) -> RunConfig:
    """The config with each ``path=value`` applied, checked as a whole.

    A term is named by its kind: ``objective.terms.mmd.weight=3``.

    Raises:
        ConfigError: an unknown path (names what there is) or a value that is not allowed.
    """
    tree: dict[str, Any] = config.model_dump(mode="json")
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals:
            raise ConfigError(f"--set {assignment!r}: expected path=value")
        _assign(tree, path, _value(text))
    return checked(tree)


def checked(tree: object) -> RunConfig:
    """A RunConfig from plain values; raises ConfigError naming the first path that is wrong."""
    try:
        return RunConfig.model_validate_json(json.dumps(tree))
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(str(part) for part in first["loc"]) or "the config"
        raise ConfigError(f"{path}: {first['msg']} (got {first['input']!r})"[:500]) from error


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _assign(tree: dict[str, Any], path: str, value: object) -> None:
    *parents, last = path.split(".")
    node: Any = tree
    for part in parents:
        node = _child(node, part, path)
    _child(node, last, path)
    node[last] = value


def _child(node: object, part: str, path: str) -> Any:
    if isinstance(node, list):
        named = {entry["kind"]: entry for entry in node}
    else:
        named = node if isinstance(node, dict) else {}
    if part not in named:
        allowed = ", ".join(named) or "nothing below this"
        raise ConfigError(f"--set {path}: no {part!r}; there is: {allowed}")
    return named[part]
