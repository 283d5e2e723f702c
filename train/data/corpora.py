"""Every corpus there is, by name, and the one place that tells them apart.

Each format has its own module; the types are in ``train.data.dialogs``.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from dialog_service.errors import CorpusError
from train.data.archive import Layout
from train.data.dailydialog import DAILYDIALOG
from train.data.dialogs import Corpus, Dialog, Skip, Split, Turn
from train.data.jsonl import JSONL
from train.data.published import PUBLISHED
from train.data.switchboard import SWITCHBOARD

__all__ = ["CORPORA", "Corpus", "CorpusSource", "Dialog", "Skip", "Split", "Turn", "load_corpus"]

CORPORA: dict[str, Layout] = {
    "dailydialog": DAILYDIALOG,
    "switchboard": SWITCHBOARD,
    "jsonl": JSONL,
    "published": PUBLISHED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusSource:
    """Which corpus, and its folder or zip or the folder that holds either.

    Without ``data_dir`` the environment variable CORPORA_DIR names it.
    """

    corpus: str
    data_dir: Path | None = None


def load_corpus(source: CorpusSource) -> Corpus:
    """Read a corpus whole.

    Raises:
        CorpusError: unknown, not found, or not in its format: one line that names file and line.
    """
    layout = CORPORA.get(source.corpus)
    if layout is None:
        raise CorpusError(f"unknown corpus {source.corpus!r}; there is: {', '.join(CORPORA)}")
    return layout.load(source.data_dir or _corpora_dir())


def _corpora_dir() -> Path | None:
    named = os.environ.get("CORPORA_DIR")
    return Path(named) if named else None
