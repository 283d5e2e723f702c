"""Recurrent layers, each run two ways: whole sequences for training, step by step for decoding.

On a GPU a sequence runs through the library's kernel. On a CPU it runs as its matrix products over
the real tokens alone: rows sorted by length, each step over the rows that reach it, the weights'
gradient one product at the end. That is the arithmetic of the library's layer at a fraction of its
time, because most of a padded batch of utterances is padding.
"""

from dialog_service.models.recurrence.gru import GruRecurrence
from dialog_service.models.recurrence.layer import (
    CellKind,
    Parts,
    Recurrence,
    State,
    Walk,
    product,
)
from dialog_service.models.recurrence.lstm import LstmRecurrence

__all__ = [
    "CellKind",
    "GruRecurrence",
    "LstmRecurrence",
    "Parts",
    "Recurrence",
    "State",
    "Walk",
    "build_recurrence",
    "product",
]


def build_recurrence(kind: CellKind, input_size: int, hidden_size: int) -> Recurrence:
    """A one-layer recurrence in one direction, from a zero state."""
    match kind:
        case "lstm":
            return LstmRecurrence(input_size, hidden_size)
        case "gru":
            return GruRecurrence(input_size, hidden_size)
