"""How many rows a product may have, so that a row's bits are its own."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch

from dialog_service.engine.products import Product


@dataclass(frozen=True, slots=True)
class RowShape:
    """How many rows a product may have: multiples of ``multiple``, at most ``largest``.

    ``scored`` of them, a multiple too, get scores at a time. A library may add up differently in
    another shape, so a row's bits are the same in any company only where every product has one
    shape, or where all the shapes add up alike.
    """

    multiple: int
    largest: int
    scored: int

    def padded(self, rows: int) -> int:
        """The least allowed number of rows for so many."""
        return -(-rows // self.multiple) * self.multiple

    def chunks(self, rows: int) -> Iterator[slice]:
        """A padded number of rows, in parts that are allowed."""
        return _parts(rows, self.largest)

    def scored_chunks(self, rows: int) -> Iterator[slice]:
        """The same in parts to score."""
        return _parts(rows, self.scored)


def _parts(rows: int, size: int) -> Iterator[slice]:
    return (slice(first, first + size) for first in range(0, rows, size))


_ON_GPU = RowShape(256, 256, 256)
_WIDE = RowShape(16, 128, 128)
_NARROW = RowShape(32, 32, 32)
_INT8_MULTIPLE = 8
_INT8_LARGEST = 1024
_INT8_SCORES = 640_000  # float32s that the inner caches of two cores hold together


def row_shape(
    device: torch.device, precision: str, products: Iterable[Product], *, words: int = 1
) -> RowShape:
    """The shape that keeps a row's bits what they are.

    Few rows waste little on a lone request; many share one pass over the weights, as far as their
    scores stay in the cache of a CPU. A GPU has the room, and dreads many small calls.

    Args:
        device: what multiplies.
        precision: "fp32", "bf16" or "int8", whose sums are exact in any shape.
        products: what floating numbers are multiplied with. None has to be heard for one shape.
        words: scores of a row.
    """
    if device.type != "cpu":
        return _ON_GPU
    if precision == "int8":
        return _of_int8(words)
    asked = tuple(products)
    is_safe = bool(asked) and all(adds_up_alike(product, _WIDE) for product in asked)
    return _WIDE if is_safe else _NARROW


def _of_int8(words: int) -> RowShape:
    """Weights of one byte are read again soon enough; scores are read several times over."""
    scored = min(max(_INT8_SCORES // words, 1), 128)
    return RowShape(_INT8_MULTIPLE, _INT8_LARGEST, -(-scored // _INT8_MULTIPLE) * _INT8_MULTIPLE)


@torch.inference_mode()
def adds_up_alike(product: Product, shape: RowShape) -> bool:
    """Whether a row comes out the same, bit for bit, in every allowed number of rows and place.

    Which of its kernels a library takes follows from the shape, not from the numbers, so some
    numbers tell for all.
    """
    x = torch.randn(shape.largest, product.inputs, generator=torch.Generator().manual_seed(0))
    wanted = product(x)
    counts = range(shape.multiple, shape.largest, shape.multiple)
    return torch.equal(product(x.flip(0)).flip(0), wanted) and all(
        torch.equal(product(x[:rows]), wanted[:rows]) for rows in counts
    )
