"""Each layer against the library's own, row by row, so that padding plays no part in the oracle."""

import pytest
import torch
from torch import Tensor, nn

from dialog_service.models.recurrence import (
    CellKind,
    LstmRecurrence,
    Recurrence,
    build_recurrence,
    product,
)

INPUTS, HIDDEN = 5, 7
RAGGED = [(4, 1, 6, 3, 6), (1, 1, 1), (5,), (1,), (2, 5, 3)]
each_batch = pytest.mark.parametrize("lengths", RAGGED, ids=str)


@pytest.fixture(params=["lstm", "gru"])
def recurrence(request: pytest.FixtureRequest) -> Recurrence:
    kind: CellKind = request.param
    torch.manual_seed(2)
    made = build_recurrence(kind, INPUTS, HIDDEN)
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.5)  # biases too, so that none is tested at zero
    return made


def batch(lengths: tuple[int, ...], *, padding: int = 2) -> tuple[Tensor, Tensor]:
    """Random inputs (B, T, I), not zero at padding, and lengths (B,)."""
    generator = torch.Generator().manual_seed(sum(lengths))
    shape = (len(lengths), max(lengths) + padding, INPUTS)
    return torch.randn(shape, generator=generator, requires_grad=True), torch.tensor(lengths)


def by_the_library(recurrence: Recurrence, inputs: Tensor, lengths: Tensor) -> list[Tensor]:
    """Hidden states (T_b, H) of each row alone."""
    return [recurrence.library(row[None, :n])[0][0] for row, n in zip(inputs, lengths, strict=True)]


@each_batch
def test_hidden_states_are_the_library_s(recurrence: Recurrence, lengths: tuple[int, ...]) -> None:
    inputs, counts = batch(lengths)
    hidden = recurrence.sequence(inputs, counts)
    assert hidden.shape == (len(lengths), inputs.shape[1], HIDDEN)
    for row, n, wanted in zip(
        hidden, lengths, by_the_library(recurrence, inputs, counts), strict=True
    ):
        torch.testing.assert_close(row[:n], wanted)


@each_batch
def test_every_gradient_is_the_library_s(recurrence: Recurrence, lengths: tuple[int, ...]) -> None:
    inputs, counts = batch(lengths)
    shares = torch.randn(len(lengths), inputs.shape[1], HIDDEN)
    learnt = [inputs, *recurrence.parameters()]
    hidden = recurrence.sequence(inputs, counts)
    rows = by_the_library(recurrence, inputs, counts)
    ours = [(h[:n] * w[:n]).sum() for h, w, n in zip(hidden, shares, lengths, strict=True)]
    theirs = [(r * w[:n]).sum() for r, w, n in zip(rows, shares, lengths, strict=True)]
    found = torch.autograd.grad(sum(ours), learnt)
    wanted = torch.autograd.grad(sum(theirs), learnt)
    assert all(gradient.abs().sum() > 0 or max(lengths) == 1 for gradient in wanted)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)


@each_batch
def test_padding_changes_nothing(recurrence: Recurrence, lengths: tuple[int, ...]) -> None:
    inputs, counts = batch(lengths)
    changed = inputs.detach().clone()
    for row, n in zip(changed, lengths, strict=True):
        row[n:] = 1e3
    before, after = recurrence.sequence(inputs, counts), recurrence.sequence(changed, counts)
    for one, other, n in zip(before, after, lengths, strict=True):
        assert torch.equal(one[:n], other[:n])


@each_batch
def test_steps_are_the_sequence(recurrence: Recurrence, lengths: tuple[int, ...]) -> None:
    inputs, counts = batch(lengths)
    hidden = recurrence.sequence(inputs, counts)
    state = recurrence.zero_state(inputs)
    for position in range(max(lengths)):
        state = recurrence.step(inputs[:, position], state)
        inside = counts > position
        torch.testing.assert_close(state[0][inside], hidden[inside, position])


def test_autocast_multiplies_in_bfloat16_and_keeps_the_state_in_float32(
    recurrence: Recurrence,
) -> None:
    inputs, counts = batch((4, 1, 6))
    exact = recurrence.sequence(inputs, counts)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        hidden = recurrence.sequence(inputs, counts)
    assert hidden.dtype == torch.float32
    torch.testing.assert_close(hidden, exact, atol=0.05, rtol=0.05)
    assert not torch.equal(hidden, exact)
    (hidden * torch.randn_like(hidden)).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in recurrence.parameters())


def test_the_forget_gate_starts_open() -> None:
    lstm = LstmRecurrence(INPUTS, HIDDEN).lstm
    total = (lstm.bias_ih_l0 + lstm.bias_hh_l0).detach().view(4, HIDDEN)
    assert total.sum(1).tolist() == [0, HIDDEN, 0, 0]


def test_a_product_runs_in_the_type_of_its_weights() -> None:
    x, weight, bias = torch.randn(3, 4), torch.randn(2, 4), torch.randn(2)
    torch.testing.assert_close(product(x, weight, bias), x @ weight.T + bias)
    narrow = product(x, weight.bfloat16(), bias.bfloat16())
    assert narrow.dtype == torch.float32
    torch.testing.assert_close(narrow, x @ weight.T + bias, atol=0.1, rtol=0.05)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_neither_the_number_of_rows_nor_of_threads_changes_a_bit(kind: CellKind) -> None:
    recurrence, before = build_recurrence(kind, 7, 101), torch.get_num_threads()
    gates = recurrence.parts.hidden_weight.shape[0]
    given, kept = 3 * torch.randn(1000, gates), 3 * torch.randn(1000, gates)
    state = tuple(torch.randn(1000, 101) for _ in recurrence.zero_state(given))
    try:
        torch.set_num_threads(1)
        wanted = recurrence.advance(given, kept, state)
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            for rows in (1, 8, 325, 999):
                few = (given[:rows], kept[:rows], tuple(part[:rows] for part in state))
                for found, whole in zip(recurrence.advance(*few), wanted, strict=True):
                    assert torch.equal(found, whole[:rows])
    finally:
        torch.set_num_threads(before)
