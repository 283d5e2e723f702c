"""Parts in C++ that are compiled where they run, and the headers they share."""

from dialog_service.compiled.build import BuildError, Source, build, library

__all__ = ["BuildError", "Source", "build", "library"]
