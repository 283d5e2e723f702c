"""From a dialogue to the pairs that a model learns: some turns and the turn that follows.

Knows neither corpora nor duplicates.
"""

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from train.data.dialogs import Dialog


class PairMode(enum.StrEnum):
    """What counts as a reply to what.

    ADJACENT: every turn answers the one before it.
    SEGMENTS: the same, but a dialogue's last segment is never a reply, as in the loaders of
        NeuralDialog-CVAE and of Coupled-VAE (an off-by-one there, kept for comparison).
    TURNS: a speaker's consecutive segments are joined first, so that a reply always comes from
        the other speaker.
    """

    ADJACENT = "adjacent"
    SEGMENTS = "segments"
    TURNS = "turns"


@dataclass(frozen=True, slots=True)
class Pair:
    """A context, oldest turn first, and its response: raw text.

    ``dialog`` is the index of the dialogue within its split.
    """

    context: tuple[str, ...]
    response: str
    dialog: int


def make_pairs(
    dialogs: Sequence[Dialog], mode: PairMode, *, context_turns: int = 1
) -> tuple[Pair, ...]:
    """All pairs of some dialogues, in order; contexts have at most ``context_turns`` turns."""
    return tuple(
        pair
        for index, dialog in enumerate(dialogs)
        for pair in _dialog_pairs(_texts(dialog, mode), index, context_turns)
    )


def _texts(dialog: Dialog, mode: PairMode) -> list[str]:
    match mode:
        case PairMode.ADJACENT:
            return [turn.text for turn in dialog.turns]
        case PairMode.SEGMENTS:
            return [turn.text for turn in dialog.turns[:-1]]
        case PairMode.TURNS:
            runs = groupby(dialog.turns, key=lambda turn: turn.speaker)
            return [" ".join(turn.text for turn in run) for _, run in runs]


def _dialog_pairs(texts: list[str], index: int, context_turns: int) -> Iterator[Pair]:
    for reply in range(1, len(texts)):
        yield Pair(tuple(texts[max(0, reply - context_turns) : reply]), texts[reply], index)
