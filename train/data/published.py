"""The evaluation pairs that the Stochastic WAE paper published (Bahuleyan et al. 2019).

``dailydialog_deduplicated/{valid,test}.csv`` with the columns ``line,reply``: cleaned text, numbers
as NUM, only pairs. They serve as a list: what is evaluated are the rows of our own corpus that
they select by their letters.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dialog_service.errors import CorpusError
from train.data.archive import Layout, Line, Location
from train.data.dialogs import Corpus, Dialog, Part, Split, alternate_speakers
from train.data.pairs import Pair

_FILES = {Split.VALIDATION: "valid.csv", Split.TEST: "test.csv"}
_HEADER = ["line", "reply"]
_NOT_A_LETTER = re.compile(r"[^a-z]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedSplit:
    """Our pairs that the published rows select.

    ``rows`` were published; ``unmatched`` of them select nothing; ``ambiguous`` of them could be
    any of several pairs of ours that differ only in case or marks, and select the first.
    """

    pairs: tuple[Pair, ...]
    rows: int
    unmatched: int
    ambiguous: int


def is_published(folder: Location) -> bool:
    """Whether the test file is there."""
    return folder.child(_FILES[Split.TEST]) is not None


def read_published(folder: Location) -> Corpus:
    """Every row as a dialogue of two turns; there is no training split.

    Raises:
        CorpusError: a file is missing, unreadable, or holds a row of another form.
    """
    return Corpus.of(
        "published",
        train=Part(),
        validation=_read_split(folder, Split.VALIDATION),
        test=_read_split(folder, Split.TEST),
    )


def select_published(pairs: Sequence[Pair], published: Sequence[Dialog]) -> PublishedSplit:
    """The pairs with the same letters as a published row, each row taken once, in our order.

    The authors' own filter cannot be repeated exactly, for it compared a spacing that our corpus
    does not have; rows with numbers glued to letters ("10am") are the ones that stay unmatched.
    """
    wanted = Counter((_letters(d.turns[0].text), _letters(d.turns[1].text)) for d in published)
    ours = Counter(map(_pair_letters, pairs))
    left = wanted.copy()
    selected = []
    for pair in pairs:
        key = _pair_letters(pair)
        if left[key] > 0:
            left[key] -= 1
            selected.append(pair)
    return PublishedSplit(
        pairs=tuple(selected),
        rows=len(published),
        unmatched=left.total(),
        ambiguous=sum(count for key, count in wanted.items() if ours[key] > count),
    )


def _letters(text: str) -> str:
    """Lower-case letters alone; the published NUM is in capitals and goes with the numbers."""
    return _NOT_A_LETTER.sub("", text)


def _pair_letters(pair: Pair) -> tuple[str, str]:
    return _letters(pair.context[-1].lower()), _letters(pair.response.lower())


def _read_split(folder: Location, split: Split) -> Part:
    file = folder.child(_FILES[split])
    if file is None:
        raise CorpusError(f"{folder.label}/{_FILES[split]}: no such file")
    (head, names), *rows = _rows(file)
    if names != _HEADER:
        raise head.error("expected the header line,reply")
    dialogs = tuple(_dialog(line, row, split) for line, row in rows if row)
    return Part(dialogs, tuple(line.skip("blank line") for line, row in rows if not row))


def _rows(file: Location) -> Iterator[tuple[Line, list[str]]]:
    """Every row with the line on which it ends."""
    rows = csv.reader(io.StringIO(file.text(), newline=""), strict=True)
    try:
        for row in rows:
            yield Line(file.label, rows.line_num, ""), row
    except csv.Error as error:
        where = Line(file.label, rows.line_num, "")
        raise where.error(f"not a CSV row ({error}): is the file cut short?") from error


def _dialog(line: Line, row: list[str], split: Split) -> Dialog:
    texts = [text.strip() for text in row]
    if len(texts) != len(_HEADER) or not all(texts):
        raise line.error("expected two columns with text, line and reply")
    return Dialog(f"{split}:{line.number}", alternate_speakers(texts))


PUBLISHED = Layout(
    title="published deduplicated DailyDialog",
    folders=("dailydialog_deduplicated",),
    expected="dailydialog_deduplicated/valid.csv and test.csv",
    obtained="get it from https://github.com/HareeshBahuleyan/probabilistic_nlg",
    is_here=is_published,
    read=read_published,
)
