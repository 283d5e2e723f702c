"""FLOP by hand, and what a real step multiplies beside what the arithmetic says."""

from collections.abc import Callable

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from train.benchmark.products import (
    Cell,
    Product,
    flops_of,
    linear,
    pairwise,
    recurrence,
    rows_of_steps,
)
from train.benchmark.work import BatchLengths, products_of_step
from train.benchmark.workbench import Workbench
from train.variants import VARIANTS

LENGTHS = BatchLengths(contexts=torch.tensor([2, 1]), responses=torch.tensor([3, 1]))


def test_a_product_counts_multiplications_and_additions():
    assert Product(3, 4, 5).flops == 120
    assert Product(3, 4, 5, times=2).flops == 240


def test_a_linear_layer_is_three_products_of_one_size():
    assert [product.flops for product in linear(3, 4, 5)] == [120, 120, 120]


def test_rows_of_steps():
    assert rows_of_steps(torch.tensor([2, 1, 4])) == [3, 2, 1, 1]


def test_a_recurrence_by_hand():
    """Three tokens of two sequences, so one step is taken from a state, by one row."""
    inputs = 3 * (2 * 3 * 5 * 8)  # (3, 5) x (5, 4 gates of 2), three times
    carried = 3 * (2 * 1 * 2 * 8)  # (1, 2) x (2, 8): forward, to the state, to the weight
    cell = Cell(inputs=5, hidden=2, gates=4)
    assert flops_of(recurrence(cell, torch.tensor([2, 1]))) == inputs + carried


def test_one_token_each_carries_no_state():
    cell = Cell(inputs=5, hidden=2, gates=3)
    assert recurrence(cell, torch.tensor([1, 1])) == linear(2, 5, 6)


def test_mmd_by_hand():
    """Codes with themselves 1 forward 2 backward, with draws 1 and 1, draws 1."""
    assert flops_of(pairwise(4, 3)) == 6 * 2 * 4 * 4 * 3


def test_a_wed_s_step_by_hand(make_bench: Callable[..., Workbench]):
    """E 12, H 10 a direction, decoder 14, Z 64, V 60, output tied to the embedding."""
    work = products_of_step(make_bench("wed_s").config, LENGTHS)
    flops = {name: flops_of(products) for name, products in work.items()}
    assert flops == {
        # Two directions; three tokens in, one of them from a state.
        "encoders": 2 * (3 * 2 * 3 * 12 * 40 + 3 * 2 * 1 * 10 * 40),
        # Mean and log scale of two rows from 20 numbers; MMD.
        "code": 2 * 3 * 2 * 2 * 20 * 64 + 6 * 2 * 2 * 2 * 64,
        # Four tokens in, two of them from a state, one row each; then to an embedding's width.
        "decoder": 3 * 2 * 4 * 76 * 56 + 2 * 2 * 2 * 1 * 14 * 56 + 2 * 56 * 2 * 14
        + 3 * 2 * 4 * 14 * 12,
        "words": 3 * 2 * 4 * 12 * 60,
    }  # fmt: skip


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_arithmetic_is_what_a_step_multiplies(
    make_bench: Callable[..., Workbench], variant: str
):
    """No less, and no more than padding and the first states' gradients add."""
    bench = make_bench(variant)
    rows = next(bench.rows())
    needed = sum(map(flops_of, products_of_step(bench.config, bench.lengths_of(rows)).values()))
    with FlopCounterMode(display=False) as counter:
        bench.step(rows)
    assert 1 <= counter.get_total_flops() / needed < 1.2
