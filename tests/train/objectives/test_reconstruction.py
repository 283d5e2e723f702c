"""The blocked cross-entropy against the library's, and what counts as a token."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from variants_under_test import padded, tiny_batch, tiny_config

from dialog_service.models.seq2seq import build_model
from train.objectives import reconstruction as module
from train.objectives.reconstruction import (
    Weighing,
    blocked_cross_entropy,
    reconstruction,
)

ROWS = {"none": 0, "one": 1, "one block": 1024, "a row more": 1025, "three blocks": 2500}
each_count = pytest.mark.parametrize("rows", ROWS.values(), ids=list(ROWS))

each_smoothing = pytest.mark.parametrize("smoothing", [0.0, 0.1])


def layer(rows: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Features (N, O), weight (V, O), bias (V,), targets (N,)."""
    generator = torch.Generator().manual_seed(rows)
    features, weight, bias = (
        torch.randn(shape, generator=generator).requires_grad_()
        for shape in ((rows, 6), (31, 6), (31,))
    )
    return features, weight, bias, torch.randint(31, (rows,), generator=generator)


def by_the_library(
    features: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, label_smoothing: float = 0.0
) -> Tensor:
    scores = functional.linear(features, weight, bias)
    return functional.cross_entropy(
        scores, targets, reduction="sum", label_smoothing=label_smoothing
    )


@each_count
@each_smoothing
def test_the_value_is_the_library_s_with_and_without_a_gradient(
    rows: int, smoothing: float
) -> None:
    parts = layer(rows)
    wanted = by_the_library(*parts, smoothing) / 2
    weighing = Weighing(smoothing, scale=0.5)
    for has_gradient in (True, False):
        with torch.set_grad_enabled(has_gradient):
            found = blocked_cross_entropy(*parts, weighing=weighing)
        torch.testing.assert_close(found, wanted)


@each_count
@each_smoothing
@pytest.mark.parametrize("scale", [1.0, 0.3])
@pytest.mark.parametrize("factor", [1.0, 3.0])  # one is handed on as it is
def test_every_gradient_is_the_library_s(
    rows: int, smoothing: float, scale: float, factor: float
) -> None:
    *learnt, targets = layer(rows)
    ours = blocked_cross_entropy(*learnt, targets, weighing=Weighing(smoothing, scale))
    found = torch.autograd.grad(ours, learnt, torch.tensor(factor))
    wanted_ours = scale * by_the_library(*learnt, targets, smoothing)
    torch.testing.assert_close(ours, wanted_ours)
    wanted = torch.autograd.grad(wanted_ours, learnt, torch.tensor(factor))
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


def test_large_scores_do_not_overflow() -> None:
    features, weight, bias, targets = layer(5)
    with torch.no_grad():
        features *= 1e3
    loss = blocked_cross_entropy(features, weight, bias, targets)
    torch.testing.assert_close(loss, by_the_library(features, weight, bias, targets))
    assert all(g.isfinite().all() for g in torch.autograd.grad(loss, (features, weight, bias)))


@pytest.mark.parametrize("has_gradient", [True, False])
def test_autocast_multiplies_in_bfloat16_and_sums_in_float32(has_gradient: bool) -> None:
    *learnt, targets = layer(2500)
    wanted = by_the_library(*learnt, targets)
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.set_grad_enabled(has_gradient):
        found = blocked_cross_entropy(*learnt, targets)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, wanted, atol=0, rtol=2e-3)
    assert found != wanted
    if has_gradient:
        for ours, theirs in zip(
            torch.autograd.grad(found, learnt), torch.autograd.grad(wanted, learnt), strict=True
        ):
            assert ours.dtype == torch.float32
            assert (ours - theirs).norm() < 0.02 * theirs.norm()


@each_smoothing
def test_under_autocast_a_scale_is_not_rounded(smoothing: float) -> None:
    """A gradient is the difference of two halves, often near: what one is rounded by stays."""
    *learnt, targets = layer(200)
    found = []
    for scale in (1.0, 1 / 7):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = blocked_cross_entropy(*learnt, targets, weighing=Weighing(smoothing, scale))
        found.append(torch.autograd.grad(loss / scale, learnt[0])[0])
    torch.testing.assert_close(*found, atol=1e-5, rtol=1e-4)


def test_no_block_holds_all_the_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks: list[int] = []

    def counted(features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        blocks.append(len(features))
        return functional.linear(features, weight, bias)

    monkeypatch.setattr(module, "_scores", counted)
    blocked_cross_entropy(*layer(2500))
    with torch.no_grad():
        blocked_cross_entropy(*layer(2500))
    assert blocks == [1024, 1024, 452] * 2


def test_a_loss_is_nats_per_example_with_the_end_and_without_padding() -> None:
    torch.manual_seed(0)
    model = build_model(tiny_config("ded").model).eval()
    batch = tiny_batch()
    output = model(batch)
    found = reconstruction(model.decoder, batch, output.features)
    scores = model.decoder.logits(padded(output.features, batch)).log_softmax(-1)  # (B, T, V)
    summed = torch.zeros(())
    for row, length in enumerate(batch.target_lengths.tolist()):
        for step in range(length):
            summed = summed - scores[row, step, batch.targets[row, step]]
    torch.testing.assert_close(found, summed / len(batch.targets))
