"""Every error a caller or a user can meet. Imports nothing of the project.

The tree::

    DialogError
    ├── RequestError            answered to one caller, with a status; the server goes on
    │   ├── InvalidRequest      INVALID_ARGUMENT    every violated field, all at once
    │   ├── Unauthenticated     UNAUTHENTICATED     says how to show a token
    │   ├── UnknownModel        NOT_FOUND           names the models there are
    │   ├── Overloaded          RESOURCE_EXHAUSTED  says when to try again
    │   ├── DeadlinePassed      DEADLINE_EXCEEDED   the work was dropped
    │   ├── NotReady            UNAVAILABLE         loading or draining; says when to try again
    │   └── GenerationFailed    INTERNAL            the cause goes to the log alone
    └── UserError               ends a program with one line on stderr and exit code 2
        ├── ConfigError         a setting, flag or configuration value
        ├── CheckpointError     a checkpoint directory that cannot be used
        └── CorpusError         a corpus that cannot be read, with file and line
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


class DialogError(Exception):
    """Root of the tree; never raised itself."""


class RequestError(DialogError):
    """One request cannot be answered; ``status`` is the name of its gRPC status code."""

    status: ClassVar[str]


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One field of a request and what is wrong with it."""

    field: str
    description: str


class InvalidRequest(RequestError):
    """The request violates the API; carries every violated field, not the first one."""

    status = "INVALID_ARGUMENT"

    def __init__(self, violations: Sequence[FieldViolation]) -> None:
        """Keep the violations; the message lists them all."""
        self.violations = tuple(violations)
        super().__init__("; ".join(f"{v.field}: {v.description}" for v in self.violations))


class Unauthenticated(RequestError):
    """The caller showed no token, or none that the server knows; says what to do."""

    status = "UNAUTHENTICATED"


class UnknownModel(RequestError):
    """No model or version of that name; carries the names there are."""

    status = "NOT_FOUND"

    def __init__(self, name: str, known: Sequence[str]) -> None:
        """Name what was asked for and what could have been."""
        self.name = name
        self.known = tuple(known)
        super().__init__(f"no model {name!r}; there is: {', '.join(self.known) or 'none'}")


class Overloaded(RequestError):
    """The queue is full, or the caller asks too often; ``retry_after_seconds`` is a hint."""

    status = "RESOURCE_EXHAUSTED"

    def __init__(self, message: str, *, retry_after_seconds: float) -> None:
        """Keep the hint beside the message."""
        self.retry_after_seconds = retry_after_seconds
        super().__init__(message)


class DeadlinePassed(RequestError):
    """The caller's deadline passed before the reply was ready; the work was dropped."""

    status = "DEADLINE_EXCEEDED"


class NotReady(RequestError):
    """The server is loading or draining; ``retry_after_seconds`` is a hint for the caller."""

    status = "UNAVAILABLE"

    def __init__(self, message: str, *, retry_after_seconds: float) -> None:
        """Keep the hint beside the message."""
        self.retry_after_seconds = retry_after_seconds
        super().__init__(message)


class GenerationFailed(RequestError):
    """The model failed; the caller gets a constant message, the log gets the cause."""

    status = "INTERNAL"


class UserError(DialogError):
    """Something the person at the keyboard can mend; one line, exit code 2, no traceback."""


class ConfigError(UserError):
    """A setting, flag or configuration value: names its path and the allowed values."""


class CheckpointError(UserError):
    """A checkpoint directory that is missing, incomplete, foreign or inconsistent."""


class CorpusError(UserError):
    """A corpus that cannot be read: names the file, the line and what was expected there."""
