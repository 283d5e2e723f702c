"""How many rows are multiplied at a time, and what is asked of products before many are."""

import pytest
import torch
from torch import Tensor

from dialog_service.engine.products import Product, packed
from dialog_service.engine.rows import RowShape, adds_up_alike, row_shape

CPU = torch.device("cpu")
SHAPE = RowShape(16, 128)
INPUTS, OUTPUTS = 70, 300


class Disturbed:
    """A hair off in the last of so many rows, or from a row on."""

    inputs = INPUTS

    def __init__(self, *, rows: int = 0, start: int = SHAPE.largest) -> None:
        self._product = weighted("fp32")
        self._rows, self._start = rows, start

    def __call__(self, x: Tensor, /) -> Tensor:
        y = self._product(x)
        y[self._start :] *= 1 + 2**-20
        if len(x) == self._rows:
            y[-1] *= 1 + 2**-20
        return y


def weighted(precision: str) -> Product:
    random = torch.Generator().manual_seed(0)
    weight, bias = torch.randn(OUTPUTS, INPUTS, generator=random), torch.ones(OUTPUTS)
    return packed(weight, bias, precision)


def test_one_number_of_rows_that_adds_up_otherwise_is_found() -> None:
    assert adds_up_alike(Disturbed(), SHAPE)
    for rows in (16, 96, 112):
        assert not adds_up_alike(Disturbed(rows=rows), SHAPE)


def test_a_place_that_adds_up_otherwise_is_found() -> None:
    assert not adds_up_alike(Disturbed(start=64), SHAPE)


def test_one_product_that_adds_up_otherwise_narrows_all() -> None:
    wide = row_shape(CPU, "fp32", [Disturbed(), Disturbed()])
    assert wide == SHAPE
    narrow = row_shape(CPU, "fp32", [Disturbed(), Disturbed(rows=48)])
    assert narrow.multiple == narrow.largest


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("bf16", 0.1), ("int8", 0.5)])
def test_a_packed_product_is_the_product(precision: str, tolerance: float) -> None:
    random = torch.Generator().manual_seed(0)
    weight, bias = torch.randn(OUTPUTS, INPUTS, generator=random), torch.ones(OUTPUTS)
    bias[:3] = -torch.inf
    x = torch.randn(48, INPUTS, generator=random).tanh()
    found = packed(weight, bias, precision)(x)
    wanted = torch.nn.functional.linear(x.double(), weight.double(), bias.double())
    torch.testing.assert_close(found.double(), wanted, atol=tolerance, rtol=0)
