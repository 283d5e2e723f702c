"""``measures.jsonl``: what is known of the judged system's replies and cannot be counted again.

Relevance takes the classifier, UniKL the corpus and LM nats the language model, none of which a
comparison has. The first line names them by their fingerprints; then comes a line per context, in
the order of ``replies.jsonl``, with a digest of the replies it is about, so that no measure is
taken for one of other replies. It is written from its start by every run of a job, for judging kept
replies again is cheap, and goes under another name until the report is there.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

from train.evaluate.journal import REPLIES, partial_of
from train.metrics.counting import Case
from train.metrics.document import Document
from train.metrics.fluency import Fluency
from train.metrics.judgement import Judgement
from train.metrics.unigrams import Familiarity

MEASURES = "measures.jsonl"
_NONE_KEPT = f"no {MEASURES}, being of an earlier version"
_DAMAGED = f"its {MEASURES} cannot be read, or is not whole"
_OF_OTHERS = f"its {MEASURES} is not of the replies in its {REPLIES}"


class MeasuredBy(Document):
    """Fingerprints: of the judge of relevance, the corpus words were looked up in, the LM."""

    judge: str | None = None
    corpus: str | None = None
    language_model: str | None = None


class MeasuresLine(Document):
    """Of the replies to one context, which ``replies`` is the digest of."""

    replies: str
    judgement: Judgement | None = None
    familiarity: Familiarity | None = None
    fluency: Fluency | None = None

    def is_by(self, by: MeasuredBy) -> bool:
        """Whether it has what they give, and nothing else."""
        kept = (self.judgement, self.familiarity, self.fluency)
        whose = (by.judge, by.corpus, by.language_model)
        return [part is None for part in kept] == [who is None for who in whose]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """What a folder keeps: a line per context; nothing, and what is wrong, where it is no use."""

    by: MeasuredBy = field(default_factory=MeasuredBy)
    lines: tuple[MeasuresLine, ...] = ()
    problem: str = ""


class MeasuresFile:
    """The file of one job while it is written. Not for two jobs at once."""

    def __init__(self, path: Path, by: MeasuredBy) -> None:
        """Begin it, in place of what an unfinished job left.

        Args:
            path: of the finished file; its folder exists.
            by: who measures.

        Raises:
            OSError: the file cannot be written.
        """
        self._finished = path
        self._path = partial_of(path)
        self._path.write_bytes(_encoded(by))

    def append(self, lines: Iterable[MeasuresLine]) -> None:
        """Write lines at the end, and out of this process."""
        with self._path.open("ab") as file:
            file.writelines(map(_encoded, lines))

    def finish(self) -> None:
        """Give the file its name."""
        self._path.replace(self._finished)


def read_measures(path: Path, cases: Sequence[Case]) -> Measures:
    """What a finished file has of the replies to these cases, all of them or nothing.

    Args:
        path: of the file, which need not be there.
        cases: with their replies, in order.
    """
    try:
        first, *rest = path.read_bytes().splitlines()
        by = MeasuredBy.model_validate_json(first)
        lines = tuple(map(MeasuresLine.model_validate_json, rest))
    except FileNotFoundError:
        return Measures(problem=_NONE_KEPT)
    except (OSError, ValueError):  # among these an empty file and what is not of this form
        return Measures(problem=_DAMAGED)
    if not all(line.is_by(by) for line in lines):
        return Measures(problem=_DAMAGED)
    digests = (digest_of(case.context, case.replies) for case in cases)
    if any(line != each for line, each in zip_longest((m.replies for m in lines), digests)):
        return Measures(problem=_OF_OTHERS)
    return Measures(by=by, lines=lines)


def digest_of(context: Sequence[str], replies: Sequence[str]) -> str:
    """Of all that a measure depends on besides who measures."""
    said = json.dumps([list(context), list(replies)])
    return hashlib.blake2b(said.encode(), digest_size=8).hexdigest()


def _encoded(part: Document) -> bytes:
    return part.model_dump_json(exclude_defaults=True).encode() + b"\n"
