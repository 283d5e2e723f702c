"""``replies.jsonl`` while it is written: what a stopped job has answered, the next one takes over.

A line is one of a replies file, with the replies of the other decodings beside it and the
fingerprint of its job: all that fixes the replies. It goes under another name until the report is
there, so a file called ``replies.jsonl`` is whole.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from pydantic import Field, ValidationError

from train.evaluate.replies_file import RepliesLine

REPLIES = "replies.jsonl"


class JournalLine(RepliesLine):
    """The replies of every decoding to one context, the first one's as ``replies``."""

    job: str | None = None
    others: dict[str, tuple[str, ...]] = Field(default_factory=dict)

    def encoded(self) -> bytes:
        """The line with its end."""
        return self.model_dump_json(exclude_defaults=True).encode() + b"\n"


class Journal:
    """The file of one job in a folder. Not for two jobs at once."""

    def __init__(self, path: Path, job: str | None) -> None:
        """Find the lines that an earlier run of the same job left, and drop whatever follows.

        Args:
            path: of the finished file; its folder exists.
            job: the job's fingerprint; None is a job that takes nothing over.

        Raises:
            OSError: the file cannot be read or written.
        """
        self._finished = path
        self._path = partial_of(path)
        self._path.touch()
        sizes = [len(line.encoded()) for line in self._lines(job)] if job else []
        self.kept = len(sizes)
        self.dropped_bytes = self._path.stat().st_size - sum(sizes)
        with self._path.open("r+b") as file:
            file.truncate(sum(sizes))

    def kept_lines(self) -> Iterator[JournalLine]:
        """The ``kept`` lines, in order."""
        with self._path.open("rb") as lines:
            yield from map(JournalLine.model_validate_json, islice(lines, self.kept))

    def append(self, lines: Iterable[JournalLine]) -> None:
        """Write lines at the end, and out of this process."""
        with self._path.open("ab") as file:
            file.writelines(line.encoded() for line in lines)

    def finish(self) -> None:
        """Give the file its name."""
        self._path.replace(self._finished)

    def _lines(self, job: str) -> Iterator[JournalLine]:
        """The lines of that job up to the first that is torn or of another."""
        with self._path.open("rb") as lines:
            for raw in lines:
                line = _parsed(raw)
                if line is None or line.job != job:
                    return
                yield line


def partial_of(path: Path) -> Path:
    """Where the lines are until the file is finished."""
    return path.with_name(f"{path.name}.partial")


def _parsed(raw: bytes) -> JournalLine | None:
    """The line, if it is one that was written here and whole."""
    try:
        line = JournalLine.model_validate_json(raw)
    except ValidationError:
        return None
    return line if line.encoded() == raw else None
