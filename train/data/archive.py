"""Files of a corpus as numbered lines, whether they lie in a folder, a zip or a zip in a zip.

Every failure to read is one CorpusError naming file and line. Knows no corpus.
"""

import io
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dialog_service.errors import CorpusError
from train.data.dialogs import Corpus, Skip

_UNREADABLE = (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a file, without its end; numbers start at 1."""

    file: str
    number: int
    text: str

    def error(self, problem: str) -> CorpusError:
        """The error to raise about this line."""
        return CorpusError(f"{self.file}:{self.number}: {problem}")

    def skip(self, reason: str) -> Skip:
        """The note that this line was passed over."""
        return Skip(self.file, self.number, reason)


@dataclass(frozen=True, slots=True)
class Location:
    """A file or folder on disk or in a zip; ``label`` is its path as shown to a person."""

    path: Path | zipfile.Path
    label: str

    @classmethod
    def at(cls, path: Path) -> "Location":
        """The folder or file at ``path``; a zip is entered as if it were a folder.

        Raises:
            CorpusError: it is no readable zip.
        """
        return _unzipped(path, str(path)) if _is_zip(path) else cls(path, str(path))

    def child(self, name: str) -> "Location | None":
        """The file, folder or ``name``.zip of that name in this folder, if there is one."""
        label = f"{self.label}/{name}"
        if (self.path / name).exists():
            return Location(self.path / name, label)
        packed = self.path / f"{name}.zip"
        return _unzipped(packed, f"{label}.zip") if packed.exists() else None

    def files(self, suffix: str) -> list["Location"]:
        """The files in this folder whose names end so, sorted; none if this is no folder."""
        if not self.path.is_dir():
            return []
        names = sorted(path.name for path in self.path.iterdir() if path.name.endswith(suffix))
        return [Location(self.path / name, f"{self.label}/{name}") for name in names]

    def text(self) -> str:
        """The whole file, without a byte order mark.

        Raises:
            CorpusError: it cannot be read, is empty, or is not UTF-8.
        """
        try:
            data = self.path.read_bytes()
        except _UNREADABLE as error:
            raise CorpusError(f"{self.label}: cannot be read ({error})") from error
        if not data.strip():
            raise CorpusError(f"{self.label}:1: the file is empty")
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            byte = f"0x{data[error.start]:02x}"
            raise CorpusError(f"{self.label}:{line}: not UTF-8 text (byte {byte})") from error

    def lines(self) -> tuple[list[Line], tuple[Skip, ...]]:
        """The lines that say something, and a note on each blank one.

        Raises:
            CorpusError: as ``text``.
        """
        texts = self.text().removesuffix("\n").split("\n")
        lines = [Line(self.label, number, text) for number, text in enumerate(texts, start=1)]
        blank = tuple(line.skip("blank line") for line in lines if not line.text.strip())
        return [line for line in lines if line.text.strip()], blank


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How one corpus lies on disk, and what to tell someone who does not have it.

    ``folders`` are the names it has within a parent; ``expected`` and ``obtained`` go into errors.
    """

    title: str
    folders: tuple[str, ...]
    expected: str
    obtained: str
    is_here: Callable[[Location], bool]
    read: Callable[[Location], Corpus]

    def load(self, data_dir: Path | None) -> Corpus:
        """Read the corpus from its own folder or zip, or from the folder that holds either.

        Raises:
            CorpusError: no folder is named, the corpus is not there, or is not as it should be.
        """
        if data_dir is None:
            raise CorpusError(f"no folder of {self.title} is named: {self._advice}")
        try:
            if not data_dir.exists():
                raise CorpusError(f"{data_dir}: no such file or folder; {self._advice}")
            folder = self._found(Location.at(data_dir))
            if folder is None:
                raise CorpusError(f"{data_dir}: no {self.title} there; {self._advice}")
            return self.read(folder)
        except OSError as error:
            raise CorpusError(f"{data_dir}: cannot be read ({error})") from error

    def _found(self, root: Location) -> Location | None:
        if self.is_here(root):
            return root
        children = (root.child(name) for name in self.folders)
        return next((child for child in children if child and self.is_here(child)), None)

    @property
    def _advice(self) -> str:
        return (
            f"expected {self.expected}; {self.obtained} "
            "and name its folder with --data-dir or CORPORA_DIR"
        )


def _is_zip(path: Path | zipfile.Path) -> bool:
    return path.is_file() and path.name.lower().endswith(".zip")


def _unzipped(path: Path | zipfile.Path, label: str) -> Location:
    """The content of a zip; where all of it lies in a folder named like the zip, that folder."""
    try:
        source = path if isinstance(path, Path) else io.BytesIO(path.read_bytes())
        root = zipfile.Path(zipfile.ZipFile(source))
    except _UNREADABLE as error:
        raise CorpusError(f"{label}: not a readable zip file ({error})") from error
    folder = path.name[: -len(".zip")]
    inner = root / folder
    return Location(inner, f"{label}/{folder}") if inner.exists() else Location(root, label)
