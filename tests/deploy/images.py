"""The Dockerfile read as stages of instructions."""

import json
import re
from dataclasses import dataclass, field

from documents import DEPLOY

DOCKERFILE = DEPLOY / "Dockerfile"


@dataclass
class Stage:
    """What one FROM begins."""

    parent: str
    name: str
    number: int
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def all(self, kind: str) -> list[str]:
        """The arguments of every instruction of a kind."""
        return [text for instruction, text in self.instructions if instruction == kind]

    @property
    def image(self) -> str:
        """The image it begins with, arguments filled in."""
        found = re.fullmatch(r"\$\{(\w+)\}", self.parent)
        return arguments()[found[1]] if found else self.parent


def lines() -> list[tuple[str, str]]:
    """Instructions and their text; comments left out, continued lines joined."""
    text = re.sub(r"(?m)^\s*#.*\n", "", DOCKERFILE.read_text(encoding="utf-8"))
    joined = re.sub(r"\\\n\s*", "", text)
    return [tuple(line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]


def arguments() -> dict[str, str]:
    """Build arguments with their defaults."""
    return dict(text.split("=", 1) for kind, text in lines() if kind == "ARG")


def stages() -> dict[str, Stage]:
    """Every stage, in order."""
    found: dict[str, Stage] = {}
    for kind, text in lines():
        if kind == "FROM":
            parent, _, name = text.partition(" AS ")
            current = found[name] = Stage(parent, name, len(found))
        elif found:
            current.instructions.append((kind, text))
    return found


def ancestry(name: str) -> list[Stage]:
    """A stage and those it is built on, the first one first."""
    known = stages()
    line = [known[name]]
    while line[0].parent in known:
        line.insert(0, known[line[0].parent])
    return line


def environment(name: str) -> dict[str, str]:
    """The variables that an image sets."""
    found: dict[str, str] = {}
    for stage in ancestry(name):
        for text in stage.all("ENV"):
            found |= dict(pair.split("=", 1) for pair in text.split())
    return found


def user(name: str) -> str:
    """Who an image runs as."""
    return _last(name, "USER") or "root"


def command(name: str) -> list[str]:
    """What an image runs."""
    return json.loads(_last(name, "ENTRYPOINT") or "[]") + json.loads(_last(name, "CMD") or "[]")


def _last(name: str, kind: str) -> str | None:
    said = [text for stage in ancestry(name) for text in stage.all(kind)]
    return said[-1] if said else None
