"""What a table is made of: rows to train, sections to score them on, columns to show."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from dialog_service.errors import ConfigError
from train.data.pairs import PairMode


class Decoding(enum.StrEnum):
    """The ways of decoding that get a line each.

    OWN: the checkpoint's sampling defaults. DRAWN: the papers' own way. GREEDY: nothing is drawn;
    for a model without noise this is the papers' way.
    """

    OWN = "own sampling"
    DRAWN = "z drawn, greedy tokens"
    GREEDY = "z not drawn, greedy tokens"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column: a figure of the report by its key, times ``scale``.

    ``is_health`` figures are the model's, whatever the decoding, so they stand on one line.
    """

    key: str
    title: str
    decimals: int
    scale: float = 1.0
    is_health: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One table: a split of the test pairs, the flags of its evaluation, its columns.

    ``is_reported``: whether the paper's figures are on these pairs, as far as ours can be.
    """

    split: str
    title: str
    columns: tuple[Column, ...]
    flags: tuple[str, ...] = ()
    is_reported: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """A system to train: the program ``python -m train.<...>`` with its flags.

    Attributes:
        key: names its folders.
        variant: key of ``train.variants.VARIANTS``.
        assignments: ``path=value`` each, as ``--set`` takes them.
        reported: the paper's figures by column key, in the column's unit.
        difference: in a sentence, what of this row is not as in the paper.
    """

    key: str
    title: str
    variant: str
    program: str
    flags: tuple[str, ...] = ()
    assignments: tuple[str, ...] = ()
    reported: Mapping[str, float] = field(default_factory=dict)
    difference: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """A table: its rows, what it is shown as, and what sets all of it apart from a paper's.

    Attributes:
        name: what it is asked for by; names its folders.
        source: the paper whose figures stand beside ours; None for a table of our own.
    """

    name: str
    corpus: str
    pair_mode: PairMode
    source: str | None
    reported_epochs: str
    sections: tuple[Section, ...]
    rows: tuple[TableRow, ...]
    reported_test_set: Mapping[str, float]
    differences: tuple[str, ...]

    def chosen(self, keys: str | None) -> tuple[TableRow, ...]:
        """The rows of a comma-separated list, in the table's order; None is all of them.

        Raises:
            ConfigError: a row that does not exist, or none at all; names those there are.
        """
        if keys is None:
            return self.rows
        asked = {key.strip() for key in keys.split(",") if key.strip()}
        known = [row.key for row in self.rows]
        unknown = sorted(asked - set(known))
        if unknown or not asked:
            raise ConfigError(
                f"--rows {', '.join(unknown) or repr(keys)}: {self.name} has {', '.join(known)}"
            )
        return tuple(row for row in self.rows if row.key in asked)
