"""Matrix products a training step cannot do without: counted over real tokens, by arithmetic.

Forward and backward; what stands at padding, and what is done element by element, does not count.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Product:
    """(rows, inner) x (inner, columns), done ``times`` times one after the other."""

    rows: int
    inner: int
    columns: int
    times: int = 1

    @property
    def flops(self) -> int:
        """A multiplication and an addition for each term of each sum."""
        return 2 * self.rows * self.inner * self.columns * self.times


def flops_of(products: Iterable[Product]) -> int:
    """Floating-point operations of some products."""
    return sum(product.flops for product in products)


def linear(rows: int, inputs: int, outputs: int) -> tuple[Product, ...]:
    """A linear layer: its outputs, the gradient of its inputs and that of its weight."""
    return (
        Product(rows, inputs, outputs),
        Product(rows, outputs, inputs),
        Product(outputs, rows, inputs),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A recurrent cell: 4 gates in an LSTM, 3 in a GRU."""

    inputs: int
    hidden: int
    gates: int


def recurrence(cell: Cell, lengths: Tensor, *, from_zero: bool = True) -> tuple[Product, ...]:
    """A recurrence over sequences: a step's product is over the rows that reach it.

    Args:
        cell: its sizes.
        lengths: (B,) real tokens per row, >= 1.
        from_zero: the first step has no state to multiply.
    """
    wide = cell.gates * cell.hidden
    counts = rows_of_steps(lengths)
    carried = counts[1:] if from_zero else counts
    steps = [
        product
        for count in carried
        for product in (Product(count, cell.hidden, wide), Product(count, wide, cell.hidden))
    ]
    whole = Product(wide, sum(carried), cell.hidden)
    return (*linear(sum(counts), cell.inputs, wide), *steps, *((whole,) if carried else ()))


def rows_of_steps(lengths: Tensor) -> Sequence[int]:
    """How many of the (B,) sequences reach the first step, the second, ..."""
    return [int((lengths > step).sum()) for step in range(int(lengths.max()))]


def pairwise(rows: int, size: int) -> tuple[Product, ...]:
    """MMD's inner products of B codes with one another and with B draws, and of the draws.

    Forward three, backward two for the codes among themselves and one for codes and draws.
    """
    return (Product(rows, size, rows, times=3), Product(rows, rows, size, times=3))
