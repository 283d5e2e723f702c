"""Replies as JSON lines: ``{"context": [...], "responses": [...], "replies": [...]}``.

An optional ``"dialogue"`` names the dialogue a line is from, over which intervals are resampled;
without it every line is one of its own. Other keys are left alone, as is a byte order mark.
"""

import codecs
import hashlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr, ValidationError

from dialog_service.errors import CorpusError
from train.metrics.scoring import Case

_SHOWN = 20

Texts = Annotated[tuple[StrictStr, ...], Field(min_length=1)]


class RepliesLine(BaseModel):
    """One line of the file."""

    model_config = ConfigDict(frozen=True)

    context: Texts
    responses: Texts
    replies: Texts
    dialogue: StrictStr | StrictInt | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RepliesFile:
    """A file that has been read through once: what is in it, and what could not be read."""

    path: Path
    fingerprint: str
    case_count: int
    most_replies: int
    bad_lines: tuple[int, ...]
    first_reasons: tuple[str, ...] = ()  # of the first bad lines

    @classmethod
    def scan(cls, path: Path, complain: Callable[[str], None]) -> "RepliesFile":
        """Read every line, complaining of each bad one.

        Raises:
            CorpusError: the file cannot be read, or no line of it is good.
        """
        _check_is_read_twice(path)
        digest, bad, counts = hashlib.sha256(), array("Q"), Counter[int]()
        reasons: list[str] = []
        for number, line in _lines(path):
            digest.update(line)
            match _parse(number, line):
                case Case() as case:
                    counts[len(case.replies)] += 1
                case reason:
                    bad.append(number)
                    reasons += [reason] if len(reasons) < _SHOWN else []
                    complain(f"{path}:{number}: not scored: {reason}")
        if not counts:
            raise CorpusError(
                f'{path}: no line of the form {{"context": [...], "responses": [...], '
                '"replies": [...]}'
            )
        return cls(
            path=path,
            fingerprint=digest.hexdigest()[:12],
            case_count=counts.total(),
            most_replies=max(counts),
            bad_lines=tuple(bad),
            first_reasons=tuple(reasons),
        )

    def cases(self) -> Iterator[Case]:
        """Every good line, in order."""
        parsed = (_parse(number, line) for number, line in _lines(self.path))
        return (case for case in parsed if isinstance(case, Case))

    def note(self) -> str:
        """How many lines count, how many do not, and which and why, of the first ones."""
        if not self.bad_lines:
            return f"all {self.case_count:,} lines scored"
        told = zip(self.bad_lines, self.first_reasons, strict=False)
        shown = "; ".join(f"line {number}: {reason}" for number, reason in told)
        more = "; ..." if len(self.bad_lines) > _SHOWN else ""
        return f"{self.case_count:,} lines scored, {len(self.bad_lines):,} left out: {shown}{more}"


def _check_is_read_twice(path: Path) -> None:
    """A pipe can be read once, and is empty when the replies are scored."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise CorpusError(f"{path}: not a file on disk, which is what can be read twice")


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with path.open("rb") as lines:
            yield from enumerate(lines, start=1)
    except OSError as error:
        raise CorpusError(f"{path}: {error.strerror}") from error


def _parse(number: int, line: bytes) -> Case | str:
    """The case on a line, or what is wrong with it."""
    try:
        parsed = RepliesLine.model_validate_json(line.removeprefix(codecs.BOM_UTF8).rstrip())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        said = first["msg"].replace(" at line 1 column ", " at column ")  # the line is the file's
        return f"{where}: {said}" if where else said
    return Case(
        dialogue=f"line {number}" if parsed.dialogue is None else str(parsed.dialogue),
        context=parsed.context,
        responses=parsed.responses,
        replies=parsed.replies,
    )
