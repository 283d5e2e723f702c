"""DailyDialog (Li et al. 2017) in the layout of its official archive.

``ijcnlp_dailydialog/<split>/dialogues_<split>.txt``: one dialogue a line, every utterance ended by
``__eou__``. The archive itself holds one more zip per split; both are read.
"""

from dialog_service.errors import CorpusError
from train.data.archive import Layout, Line, Location
from train.data.dialogs import Corpus, Dialog, Part, Skip, Split, alternate_speakers

_END = "__eou__"


def is_dailydialog(folder: Location) -> bool:
    """Whether at least one split's file is there."""
    return any(_split_file(folder, split) for split in Split)


def read_dailydialog(folder: Location) -> Corpus:
    """The three splits.

    Raises:
        CorpusError: a split is missing, unreadable, or holds a line that is no dialogue.
    """
    return Corpus.of(
        "dailydialog",
        train=_read_split(folder, Split.TRAIN),
        validation=_read_split(folder, Split.VALIDATION),
        test=_read_split(folder, Split.TEST),
    )


def _split_file(folder: Location, split: Split) -> Location | None:
    part = folder.child(split)
    return part and part.child(f"dialogues_{split}.txt")


def _read_split(folder: Location, split: Split) -> Part:
    file = _split_file(folder, split)
    if file is None:
        raise CorpusError(f"{folder.label}/{split}/dialogues_{split}.txt: no such file")
    lines, blank = file.lines()
    dialogs = tuple(_dialog(line, split) for line in lines)
    return Part(dialogs, blank + _empty_utterances(lines))


def _dialog(line: Line, split: Split) -> Dialog:
    *texts, rest = (text.strip() for text in line.text.split(_END))
    if rest:
        raise line.error(f"the dialogue does not end with {_END}: is the file cut short?")
    spoken = [text for text in texts if text]
    if not spoken:
        raise line.error(f"an empty dialogue: expected utterances, each ended by {_END}")
    return Dialog(f"{split}:{line.number}", alternate_speakers(spoken))


def _empty_utterances(lines: list[Line]) -> tuple[Skip, ...]:
    empty = (line for line in lines if not all(map(str.strip, line.text.split(_END)[:-1])))
    return tuple(line.skip("empty utterance left out") for line in empty)


DAILYDIALOG = Layout(
    title="DailyDialog",
    folders=("ijcnlp_dailydialog",),
    expected="ijcnlp_dailydialog/train/dialogues_train.txt or ijcnlp_dailydialog.zip",
    obtained="get it from http://yanran.li/dailydialog",
    is_here=is_dailydialog,
    read=read_dailydialog,
)
