"""Dialogues as JSON lines: one's own, and the release of NeuralDialog-CVAE (Zhao et al. 2017).

One's own: ``{"turns": [...]}``, each turn a string or ``{"speaker": ..., "text": ...}``.
NeuralDialog-CVAE: ``{"utts": [[speaker, text, ...], ...]}``. Both: one file per split.
"""

import json
from collections.abc import Callable

from dialog_service.errors import CorpusError
from train.data.archive import Layout, Line, Location
from train.data.dialogs import Corpus, Dialog, Part, Split, Turn

_FILES = {
    Split.TRAIN: ("train.jsonl",),
    Split.VALIDATION: ("validation.jsonl", "valid.jsonl", "val.jsonl", "dev.jsonl"),
    Split.TEST: ("test.jsonl",),
}

_Parse = Callable[[Line], tuple[Turn, ...]]


def is_jsonl(folder: Location) -> bool:
    """Whether at least one split's file is there."""
    return any(_split_file(folder, split) for split in Split)


def read_jsonl(folder: Location) -> Corpus:
    """One's own dialogues.

    Raises:
        CorpusError: a split is missing, unreadable, or holds a line of another form.
    """
    return _read(folder, "jsonl", _own_turns)


def read_neuraldialog(folder: Location) -> Corpus:
    """Switchboard as NeuralDialog-CVAE released it.

    Raises:
        CorpusError: as ``read_jsonl``.
    """
    return _read(folder, "switchboard", _neuraldialog_turns)


def _read(folder: Location, name: str, parse: _Parse) -> Corpus:
    return Corpus.of(
        name,
        train=_read_split(folder, Split.TRAIN, parse),
        validation=_read_split(folder, Split.VALIDATION, parse),
        test=_read_split(folder, Split.TEST, parse),
    )


def _split_file(folder: Location, split: Split) -> Location | None:
    return next((file for name in _FILES[split] if (file := folder.child(name))), None)


def _read_split(folder: Location, split: Split, parse: _Parse) -> Part:
    file = _split_file(folder, split)
    if file is None:
        raise CorpusError(f"{folder.label}/{_FILES[split][0]}: no such file")
    lines, skipped = file.lines()
    dialogs = []
    for line in lines:
        turns = parse(line)
        spoken = tuple(turn for turn in turns if turn.text)
        if not spoken:
            raise line.error("an empty dialogue: expected at least one turn with text")
        if len(spoken) < len(turns):
            skipped += (line.skip("empty turn left out"),)
        dialogs.append(Dialog(f"{split}:{line.number}", spoken))
    return Part(tuple(dialogs), skipped)


def _own_turns(line: Line) -> tuple[Turn, ...]:
    turns = _listed(line, "turns")
    return tuple(_own_turn(line, turn, "AB"[index % 2]) for index, turn in enumerate(turns))


def _own_turn(line: Line, turn: object, speaker: str) -> Turn:
    match turn:
        case {"speaker": str(named), "text": str(text)}:
            return Turn(named, text.strip())
        case str(text) | {"text": str(text)}:
            return Turn(speaker, text.strip())
    raise line.error('expected each turn as a string or {"speaker": "...", "text": "..."}')


def _neuraldialog_turns(line: Line) -> tuple[Turn, ...]:
    return tuple(_neuraldialog_turn(line, turn) for turn in _listed(line, "utts"))


def _neuraldialog_turn(line: Line, turn: object) -> Turn:
    match turn:
        case [str(speaker), str(text), *_]:
            return Turn(speaker, text.strip())
    raise line.error('expected each of "utts" as [speaker, text, ...]')


def _listed(line: Line, key: str) -> list[object]:
    """The list under ``key`` of the JSON object on this line."""
    try:
        value = json.loads(line.text)
    except (ValueError, RecursionError) as error:
        raise line.error(f"not a JSON object ({error}): is the file cut short?") from error
    if not isinstance(value, dict) or not isinstance(value.get(key), list):
        raise line.error(f'expected a JSON object like {{"{key}": [...]}}')
    return list(value[key])


JSONL = Layout(
    title="JSONL corpus",
    folders=("jsonl",),
    expected='train.jsonl, validation.jsonl and test.jsonl with {"turns": [...]} on every line',
    obtained="write one dialogue a line",
    is_here=is_jsonl,
    read=read_jsonl,
)
