"""Parts in C++ that are compiled where they run, and the headers they share."""

from dialog_service.compiled.build import BuildError, Source, build, library
from dialog_service.compiled.calls import COUNT, POINTER, fields, opened, pointers

__all__ = [
    "COUNT",
    "POINTER",
    "BuildError",
    "Source",
    "build",
    "fields",
    "library",
    "opened",
    "pointers",
]
