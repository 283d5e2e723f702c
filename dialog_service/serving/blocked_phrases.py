"""Phrases that no reply may hold. Knows no model, no pool and no grpc.

Matched are whole words, one after the other: "ass" does not block "class", nor "damn" "damned".
Upper and lower case, punctuation, hyphens, and how quotes and spaces are written make no
difference: "go to hell" blocks "Go to ... Hell!" and "go-to-hell".
"""

import hashlib
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from dialog_service.serving.watched_file import WatchedFile
from dialog_service.text import normalise

Phrase = tuple[str, ...]  # its words


@dataclass(frozen=True)
class BlockedPhrases:
    """The phrases of one version of a list."""

    phrases: frozenset[Phrase] = frozenset()

    def block(self, text: str) -> bool:
        """Whether a text holds one of them."""
        words = _words(text)
        return any(
            words[start : start + length] in self.phrases
            for length in self._lengths
            for start in range(len(words) - length + 1)
        )

    @cached_property
    def digest(self) -> str:
        """Tells two lists apart, 16 hexadecimal digits; empty for one without phrases."""
        lines = "\n".join(sorted(" ".join(phrase) for phrase in self.phrases))
        return hashlib.sha256(lines.encode()).hexdigest()[:16] if self.phrases else ""

    @cached_property
    def _lengths(self) -> frozenset[int]:
        return frozenset(map(len, self.phrases))


def blocked_phrases(text: str) -> BlockedPhrases:
    """The list in a file: one phrase a line; empty lines and those that begin with # are none.

    Raises:
        ValueError: a line without a word.
    """
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1)]
    phrases = [(number, _words(line)) for number, line in lines if line and line[0] != "#"]
    for number, words in phrases:
        if not words:
            raise ValueError(f"line {number} holds no word to block")
    return BlockedPhrases(frozenset(words for _, words in phrases))


@dataclass(frozen=True)
class Unwanted(Container[str]):
    """Texts that are not to be returned: known ones, and those that hold a blocked phrase."""

    known: frozenset[str]
    blocked: BlockedPhrases
    on_blocked: Callable[[], object]

    def __contains__(self, text: object) -> bool:
        """Whether a candidate is to be drawn again; tells of each that is blocked."""
        if text in self.known:
            return True
        is_blocked = self.blocked.block(str(text))
        if is_blocked:
            self.on_blocked()
        return is_blocked


@dataclass(frozen=True)
class Blocking:
    """What is blocked for one request, however long that takes."""

    blocked: BlockedPhrases
    on_blocked: Callable[[], object]

    def unwanted(self, known: Iterable[str]) -> Container[str]:
        """Texts that a model is not to return; ``known`` ones among them."""
        if not self.blocked.phrases:
            return frozenset(known)
        return Unwanted(frozenset(known), self.blocked, self.on_blocked)


class Blocklist:
    """The phrases in a file, read again when it changes; without a file there are none."""

    def __init__(self, file: Path | None, on_blocked: Callable[[], object]) -> None:
        """Read the file; ``on_blocked`` is called, from any thread, for each blocked candidate.

        Raises:
            ConfigError: it cannot be read, or a line of it holds no word.
        """
        self._file = WatchedFile(file, blocked_phrases) if file else None
        self._on_blocked = on_blocked

    def current(self) -> Blocking:
        """What is blocked now."""
        blocked = self._file.current() if self._file else BlockedPhrases()
        return Blocking(blocked, self._on_blocked)


def _words(text: str) -> Phrase:
    """The words of a text, in lower case, without marks."""
    tokens = normalise(text).replace("-", " ").split()
    return tuple(token for token in tokens if any(map(str.isalnum, token)))
