"""What a corpus is once it has been read: dialogues of raw turns in three splits.

Knows no file format and no pairing; text is as the corpus has it, markup removed and stripped.
"""

import enum
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property


class Split(enum.StrEnum):
    """The three parts of a corpus, in the order they are always shown."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class Turn:
    """What one speaker says at once; in a segmented corpus, one segment of it."""

    speaker: str
    text: str


@dataclass(frozen=True, slots=True)
class Dialog:
    """One conversation, oldest turn first; ``id`` says where in the corpus it stands."""

    id: str
    turns: tuple[Turn, ...]


@dataclass(frozen=True, slots=True)
class Skip:
    """A line that was passed over, and why: counted and shown, never silent."""

    file: str
    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Part:
    """One split as read from its file or folder."""

    dialogs: tuple[Dialog, ...] = ()
    skipped: tuple[Skip, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Three splits of dialogues and the lines that gave none."""

    name: str
    train: tuple[Dialog, ...]
    validation: tuple[Dialog, ...]
    test: tuple[Dialog, ...]
    skipped: tuple[Skip, ...] = ()

    @classmethod
    def of(cls, name: str, *, train: Part, validation: Part, test: Part) -> "Corpus":
        """Join the parts, keeping the skipped lines of each."""
        return cls(
            name=name,
            train=train.dialogs,
            validation=validation.dialogs,
            test=test.dialogs,
            skipped=train.skipped + validation.skipped + test.skipped,
        )

    def split(self, split: Split) -> tuple[Dialog, ...]:
        """The dialogues of one split."""
        match split:
            case Split.TRAIN:
                return self.train
            case Split.VALIDATION:
                return self.validation
            case Split.TEST:
                return self.test

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over every speaker and text in order; file names play no part."""
        digest = hashlib.sha256()
        for split in Split:
            content = "\x1d".join(_dialog_content(self.split(split)))
            digest.update(f"{split}\x1c{content}\x1c".encode(errors="surrogatepass"))
        return digest.hexdigest()


def alternate_speakers(texts: list[str]) -> tuple[Turn, ...]:
    """Turns of two people, A and B, who speak by turns."""
    return tuple(Turn("AB"[index % 2], text) for index, text in enumerate(texts))


def _dialog_content(dialogs: tuple[Dialog, ...]) -> Iterator[str]:
    for dialog in dialogs:
        yield "\x1e".join(f"{turn.speaker}\x1f{turn.text}" for turn in dialog.turns)
