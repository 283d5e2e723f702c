"""Where the toy corpus lies, and the real ones where there are any."""

import os
from pathlib import Path

import pytest

_REAL = os.environ.get("CORPORA_DIR")


@pytest.fixture(scope="session")
def toy() -> Path:
    return Path(__file__).parents[2] / "data" / "toy"


@pytest.fixture(scope="session")
def real_corpora() -> Path:
    if not _REAL:
        pytest.skip("CORPORA_DIR names no real corpora")
    return Path(_REAL)


@pytest.fixture(autouse=True)
def _no_corpora_dir(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test says where its corpus is; the environment of whoever runs it plays no part."""
    monkeypatch.delenv("CORPORA_DIR", raising=False)
