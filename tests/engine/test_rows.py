"""How many rows are multiplied at a time, and what is asked of products before many are."""

import pytest
import torch
from torch import Tensor

from dialog_service.engine.products import Product, Ready, can_pack_int8, packed
from dialog_service.engine.rows import RowShape, adds_up_alike, row_shape

CPU = torch.device("cpu")
SHAPE = RowShape(16, 128, 128)
INPUTS, OUTPUTS = 70, 300


class Disturbed(Product):
    """A hair off in the last of so many rows, or from a row on."""

    inputs = INPUTS

    def __init__(self, *, rows: int = 0, start: int = SHAPE.largest) -> None:
        self._product = weighted("fp32")
        self._rows, self._start = rows, start

    def ready(self, x: Tensor, /) -> Ready:
        return self._product.ready(x)

    def of(self, ready: Ready, /) -> Tensor:
        y = self._product.of(ready)
        y[self._start :] *= 1 + 2**-20
        if len(y) == self._rows:
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
    assert narrow.multiple == narrow.largest == narrow.scored


@pytest.mark.parametrize("words", [1, 300, 8_000, 20_000, 2_000_000])
def test_scores_of_integers_fit_the_cache(words: int) -> None:
    shape = row_shape(CPU, "int8", (), words=words)
    assert shape.scored % shape.multiple == 0
    assert shape.scored in (8, 128) or 600_000 < shape.scored * words < 720_000
    rows = shape.padded(500)
    assert [i for part in shape.scored_chunks(rows) for i in range(rows)[part]] == list(range(rows))


INT8 = 0.2 if can_pack_int8() else 0.4
TOLERANCES = [("fp32", True, 1e-5), ("bf16", True, 0.1), ("int8", True, INT8), ("int8", False, 0.4)]


@pytest.mark.parametrize(("precision", "has_vnni", "tolerance"), TOLERANCES)
def test_a_packed_product_is_the_product(
    precision: str, has_vnni: bool, tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_vnni:
        monkeypatch.setattr("dialog_service.engine.products.can_pack_int8", lambda: False)
    random = torch.Generator().manual_seed(0)
    weight, bias = torch.randn(OUTPUTS, INPUTS, generator=random), torch.ones(OUTPUTS)
    bias[:3] = -torch.inf
    x = torch.randn(48, INPUTS, generator=random).tanh()
    found = packed(weight, bias, precision)(x)
    wanted = torch.nn.functional.linear(x.double(), weight.double(), bias.double())
    torch.testing.assert_close(found.double(), wanted, atol=tolerance, rtol=0)


@pytest.mark.skipif(not torch.cpu._is_vnni_supported(), reason="no instructions for 8-bit integers")
def test_integers_are_the_nearest() -> None:
    """Cut off instead of rounded, inputs would be half a level too low on average."""
    assert can_pack_int8()  # which looks at results too, and else takes fewer bits
    random = torch.Generator().manual_seed(0)
    weight = torch.rand(OUTPUTS, INPUTS, generator=random)  # errors of one sign add up
    x = torch.randn(200, INPUTS, generator=random).tanh()
    errors = packed(weight, None, "int8")(x) - torch.nn.functional.linear(x, weight)
    assert float(errors.mean().abs()) < 0.02  # half a level of each would be .14
