"""Everything that an installation brings along has its version in constraints.txt."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
PINNED = {
    canonicalize_name(name)
    for name in re.findall(r"^([\w.-]+)==", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
}


def is_wanted(requirement: Requirement, extras: set[str]) -> bool:
    """Whether a requirement is one of this machine's, for these extras of who requires it."""
    marker = requirement.marker
    return not marker or any(marker.evaluate({"extra": extra}) for extra in extras or {""})


def required(name: str, extras: set[str]) -> list[Requirement]:
    """What a distribution requires; nothing that is known, where it is not installed."""
    try:
        found = map(Requirement, requires(name) or ())
    except PackageNotFoundError:
        return []
    return [each for each in found if is_wanted(each, extras)]


def closure(texts: list[str]) -> set[str]:
    """The names of all that these requirements bring along, themselves too."""
    waiting = [each for each in map(Requirement, texts) if is_wanted(each, set())]
    seen: set[tuple[str, str]] = set()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if (name, str(sorted(requirement.extras))) not in seen:
            seen.add((name, str(sorted(requirement.extras))))
            waiting += required(name, requirement.extras)
    return {name for name, _ in seen}


@pytest.mark.parametrize("extra", ["", *EXTRAS])
def test_everything_that_is_installed_is_pinned(extra: str):
    brought = closure([*PROJECT["dependencies"], *EXTRAS.get(extra, ())])
    assert {"torch", "grpcio", "typing-extensions"} <= brought
    assert not brought - PINNED
