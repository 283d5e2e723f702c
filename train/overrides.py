"""``--set path=value``: one value of a run's config, by its path."""

import json
from typing import Any

from pydantic import ValidationError

from dialog_service.errors import ConfigError
from train.config import RunConfig

_DECIDED_ELSEWHERE = {
    "variant": "the command decides it",
    "preset": "--preset decides it",
    "model.vocab_size": "the fitted vocabulary decides it; set data.vocabulary_size",
}


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


def differences(one: RunConfig, other: RunConfig) -> list[str]:
    """Every path at which two configs differ, with both values."""
    left, right = _leaves(one.model_dump(mode="json")), _leaves(other.model_dump(mode="json"))
    return [
        f"{path} {left.get(path)} -> {right.get(path)}"
        for path in sorted(left.keys() | right.keys())
        if left.get(path) != right.get(path)
    ]


def _leaves(node: object, path: str = "") -> dict[str, object]:
    if isinstance(node, list):
        node = {entry["kind"]: entry for entry in node}
    if not isinstance(node, dict):
        return {path.removeprefix("."): node}
    children = (_leaves(child, f"{path}.{name}") for name, child in node.items())
    return {place: value for leaves in children for place, value in leaves.items()}


def checked(tree: object) -> RunConfig:
    """A RunConfig from plain values; raises ConfigError naming the first path that is wrong."""
    try:
        return RunConfig.model_validate_json(json.dumps(tree))
    except ValidationError as error:
        first = error.errors()[0]
        path = _path(tree, first["loc"])
        problem = first["msg"].removeprefix("Value error, ")
        got = "" if first["type"] == "value_error" else f" (got {first['input']!r})"
        raise ConfigError(f"{path}: {problem}{got}"[:500]) from error


def _path(tree: object, location: tuple[int | str, ...]) -> str:
    """A place as ``--set`` names it: a term by its kind, no tags of tagged choices."""
    names: list[str] = []
    node = tree
    for part in location:
        if isinstance(part, int):
            node = node[part] if isinstance(node, list) else None
            names += [node["kind"]] if isinstance(node, dict) and "kind" in node else []
        elif not isinstance(node, dict) or node.get("kind") != part:
            names.append(part)
            node = node.get(part) if isinstance(node, dict) else None
    return ".".join(names) or "the config"


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _assign(tree: dict[str, Any], path: str, value: object) -> None:
    if path in _DECIDED_ELSEWHERE:
        raise ConfigError(f"--set {path}: {_DECIDED_ELSEWHERE[path]}")
    *parents, last = path.split(".")
    node: Any = tree
    for part in parents:
        node = _child(node, part, path)
    entry = _child(node, last, path)
    if isinstance(node, list):
        node[node.index(entry)] = value
    else:
        node[last] = value


def _named(node: object) -> dict[str, Any]:
    """What lies below, terms by their kind; one that was given none before has no name."""
    if isinstance(node, list):
        terms = [entry for entry in node if isinstance(entry, dict)]
        return {term["kind"]: term for term in terms if isinstance(term.get("kind"), str)}
    return node if isinstance(node, dict) else {}


def _child(node: object, part: str, path: str) -> Any:
    named = _named(node)
    if part not in named:
        allowed = ", ".join(named) or "nothing below this"
        raise ConfigError(f"--set {path}: no {part!r}; there is: {allowed}")
    return named[part]
