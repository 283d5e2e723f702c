"""Switchboard: the dialogue act corpus as text folders, or the release of NeuralDialog-CVAE.

``swda_data/{train,val,test}/*.txt``: one file a conversation, one segment a line,
``speaker|text|act``. A segment is less than a turn: half of all neighbours share their speaker.
"""

from dialog_service.errors import CorpusError
from train.data.archive import Layout, Line, Location
from train.data.dialogs import Corpus, Dialog, Part, Split, Turn
from train.data.jsonl import is_jsonl, read_neuraldialog

_FOLDER_OF = {Split.TRAIN: "train", Split.VALIDATION: "val", Split.TEST: "test"}


def is_switchboard(folder: Location) -> bool:
    """Whether one of the two layouts is there."""
    return _is_swda(folder) or is_jsonl(folder)


def read_switchboard(folder: Location) -> Corpus:
    """The three splits, in whichever layout they are.

    Raises:
        CorpusError: a split is missing, unreadable, or holds a line of another form.
    """
    if not _is_swda(folder):
        return read_neuraldialog(folder)
    return Corpus.of(
        "switchboard",
        train=_read_split(folder, Split.TRAIN),
        validation=_read_split(folder, Split.VALIDATION),
        test=_read_split(folder, Split.TEST),
    )


def _is_swda(folder: Location) -> bool:
    # "val" tells it from DailyDialog, whose folders are train, validation and test.
    return bool(_conversations(folder, Split.VALIDATION))


def _conversations(folder: Location, split: Split) -> list[Location]:
    part = folder.child(_FOLDER_OF[split])
    return part.files(".txt") if part else []


def _read_split(folder: Location, split: Split) -> Part:
    files = _conversations(folder, split)
    if not files:
        raise CorpusError(f"{folder.label}/{_FOLDER_OF[split]}/*.txt: no such files")
    parts = [_conversation(file, split) for file in files]
    return Part(
        tuple(dialog for part in parts for dialog in part.dialogs),
        tuple(skip for part in parts for skip in part.skipped),
    )


def _conversation(file: Location, split: Split) -> Part:
    lines, skipped = file.lines()
    segments = [(line, _segment(line)) for line in lines]
    skipped += tuple(
        line.skip("empty segment left out") for line, turn in segments if not turn.text
    )
    turns = tuple(turn for _, turn in segments if turn.text)
    if not turns:
        raise lines[0].error("an empty dialogue: expected at least one segment with text")
    return Part((Dialog(f"{split}:{file.path.name.removesuffix('.txt')}", turns),), skipped)


def _segment(line: Line) -> Turn:
    speaker, _, rest = line.text.partition("|")
    text, _, act = rest.rpartition("|")
    if line.text.count("|") < 2 or not speaker.strip() or not act.strip():
        raise line.error("expected speaker|text|act: is the file cut short?")
    return Turn(speaker.strip(), text.strip())


SWITCHBOARD = Layout(
    title="Switchboard",
    folders=("swda_data", "json_data"),
    expected="swda_data/{train,val,test}/*.txt, swda_data.zip, or {train,valid,test}.jsonl",
    obtained="get it from https://github.com/NathanDuran/Switchboard-Corpus",
    is_here=is_switchboard,
    read=read_switchboard,
)
