"""Files that an operator changes while the server runs."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from dialog_service.errors import ConfigError

T = TypeVar("T")
_log = logging.getLogger(__name__)


def file_stamp(path: Path) -> tuple[int, ...]:
    """Tells two states of a file apart; empty where there is none, or none to be seen.

    The time of the change of its entry tells of a file that was copied with its times.
    """
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_ctime_ns, found.st_mtime_ns, found.st_size, found.st_ino, found.st_dev


class WatchedFile(Generic[T]):
    """What a file says, read again whenever it has changed."""

    def __init__(self, path: Path, parse: Callable[[str], T]) -> None:
        """Read it for the first time; ``parse`` raises ValueError, which must tell no secret.

        Raises:
            ConfigError: it cannot be read or parsed.
        """
        self._path = path
        self._parse = parse
        self._version, self._value = self._read()

    def current(self) -> T:
        """What it says now; where it cannot be read or parsed any more, what it said before."""
        version = file_stamp(self._path)
        if version != self._version:
            self._version = version  # a version that cannot be used is complained of once
            try:
                self._version, self._value = self._read()
                _log.info("read again: %s", self._path)
            except ConfigError as error:
                _log.error("what it said before goes on: %s", error)
        return self._value

    def _read(self) -> tuple[tuple[int, ...], T]:
        version = file_stamp(self._path)  # first: a change during the reading is then seen as one
        try:
            return version, self._parse(self._path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"{self._path}: {error.strerror}") from error
        except ValueError as error:
            raise ConfigError(f"{self._path}: {error}") from error
