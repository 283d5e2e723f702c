"""Learned classifiers on disk: whole files or none, checked by their digest when read.

Two programs may write the same file at once: each writes its own and moves it into place. A file
that is short, altered or foreign is as good as none.
"""

import hashlib
import os
import tempfile
from pathlib import Path

_DIGEST_BYTES = hashlib.sha256().digest_size


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/dialog-service``, or that below ``~/.cache``; it need not exist."""
    named = os.environ.get("XDG_CACHE_HOME", "")
    home = Path(named) if Path(named).is_absolute() else Path.home() / ".cache"
    return home / "dialog-service"


def read_checked(path: Path) -> bytes | None:
    """What ``write_checked`` wrote there; None where there is no such file or it is damaged."""
    try:
        stored = path.read_bytes()
    except OSError:
        return None
    digest, payload = stored[:_DIGEST_BYTES], stored[_DIGEST_BYTES:]
    return payload if hashlib.sha256(payload).digest() == digest else None


def write_checked(path: Path, payload: bytes) -> None:
    """Write the digest and the payload, making the folder; raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.", suffix=".partial")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(hashlib.sha256(payload).digest() + payload)
        Path(partial).replace(path)
    except OSError:
        Path(partial).unlink(missing_ok=True)
        raise
