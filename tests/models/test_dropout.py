"""Dropout: the share it drops, what it leaves, and where it does nothing."""

import pytest
import torch

from dialog_service.models.dropout import Dropout


@pytest.mark.parametrize("rate", [0.2, 0.3, 0.5, 0.9])
def test_the_share_that_is_dropped_and_the_mean_that_is_kept(rate: float) -> None:
    torch.manual_seed(0)
    dropped = Dropout(rate)(torch.ones(1000, 333))
    rounded = round(rate * 256) / 256
    # 333,000 values: five deviations of a share are 5 sqrt(p (1 - p) / N) < 0.0044.
    assert (dropped == 0).float().mean().item() == pytest.approx(rounded, abs=0.0044)
    left = dropped[dropped != 0]
    assert left.unique().tolist() == pytest.approx([1 / (1 - rounded)])
    assert dropped.mean().item() == pytest.approx(1, abs=0.0044 / (1 - rounded))


def test_values_are_dropped_independently() -> None:
    torch.manual_seed(0)
    kept = (Dropout(0.5)(torch.ones(200_000)) != 0).double()
    for lag in (1, 7, 8, 64):  # within one draw of eight bytes, and beyond
        correlation = torch.corrcoef(torch.stack([kept[:-lag], kept[lag:]]))[0, 1]
        assert abs(correlation) < 0.012  # five deviations


@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 5), (0, 4)])
def test_any_shape_and_type(shape: tuple[int, ...]) -> None:
    for dtype in (torch.float32, torch.bfloat16):
        values = Dropout(0.5)(torch.ones(shape, dtype=dtype))
        assert values.shape == shape
        assert values.dtype == dtype


def test_gradients_pass_where_values_do() -> None:
    torch.manual_seed(0)
    values = torch.randn(500, requires_grad=True)
    dropped = Dropout(0.25)(values)
    dropped.sum().backward()
    assert values.grad is not None
    expected = (dropped != 0).float() / 0.75
    torch.testing.assert_close(values.grad, expected)


def test_nothing_happens_in_evaluation_or_at_rate_zero() -> None:
    values = torch.randn(50)
    assert Dropout(0.5).eval()(values) is values
    assert Dropout(0.0)(values) is values


def test_a_rate_next_to_one_keeps_something_finite() -> None:
    torch.manual_seed(0)
    dropped = Dropout(0.9999)(torch.ones(10_000))
    assert dropped.unique().tolist() == [0, 256]


def test_masks_follow_the_global_seed() -> None:
    dropout, values = Dropout(0.3), torch.ones(100)
    torch.manual_seed(4)
    once, other = dropout(values), dropout(values)
    torch.manual_seed(4)
    assert torch.equal(dropout(values), once)
    assert not torch.equal(once, other)
