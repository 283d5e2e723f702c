"""Information, active dimensions and deviations against their definitions and known answers."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from train.metrics.latent import active_units, mutual_information, scale_histogram


def drawn(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def posteriors(count: int, size: int) -> tuple[Tensor, Tensor]:
    generator = drawn(9)
    loc = 5 + 2 * torch.randn(count, size, generator=generator)
    return loc, 0.05 + torch.rand(count, size, generator=generator)


def by_definition(loc: Tensor, scale: Tensor, draws: int) -> list[float]:
    """Equations 12 and 13 one density at a time, every other item in the mixture."""
    generator, count = drawn(), len(loc)
    terms = []
    for item in range(count):
        noise = torch.randn(draws, loc.shape[1], generator=generator, dtype=torch.float64)
        information = 0.0
        for z in loc[item] + scale[item] * noise:
            log_probs = Normal(loc, scale).log_prob(z).sum(1)
            mixed = sum(math.exp(log_probs[j]) for j in range(count) if j != item) / (count - 1)
            information += float(log_probs[item]) - math.log(mixed)
        terms.append(information / draws)
    return terms


def information(loc: Tensor, scale: Tensor, *, draws: int = 50, others: int = 512) -> Tensor:
    return mutual_information(loc, scale, draws=draws, others=others, generator=drawn())


def test_information_is_that_of_the_definition():
    loc, scale = posteriors(12, 3)
    wanted = by_definition(loc.double(), scale.double(), draws=7)
    torch.testing.assert_close(
        information(loc, scale, draws=7), torch.tensor(wanted, dtype=torch.float64)
    )


def test_information_of_a_gaussian_channel():
    # Means N(0, s^2), noise 1: the mixture is N(0, 1 + s^2), the capacity 1/2 ln(1 + s^2).
    loc = 3 * torch.randn(1500, 1, generator=drawn())
    found = information(loc, torch.ones(1500, 1), draws=20).mean()
    assert float(found) == pytest.approx(0.5 * math.log(10), abs=0.06)


def test_information_is_not_bound_by_the_number_of_others():
    found = information(torch.tensor([[0.0], [100.0]]), torch.ones(2, 1), draws=2000)
    assert float(found.mean()) == pytest.approx(5000, abs=10)  # d^2 / 2, far above ln 2


@pytest.mark.parametrize("others", [5, 600])
def test_a_code_that_is_the_same_for_all_tells_nothing(others: int):
    found = information(torch.full((20, 4), 7.0), torch.full((20, 4), 1e-3), others=others)
    torch.testing.assert_close(found, torch.zeros(20, dtype=torch.float64), atol=1e-6, rtol=0)


def test_some_others_stand_for_all_and_never_the_item_itself():
    loc = torch.arange(30.0)[:, None] * 1000
    found = information(loc, torch.ones(30, 1), others=3)
    assert (found > 1000).all()  # with itself among the others it would be ln 4
    loc, scale = posteriors(400, 2)
    all_others, some = information(loc, scale).mean(), information(loc, scale, others=100).mean()
    assert float(all_others) < float(some) < float(all_others) + 0.5  # errs upwards: see there


def test_information_far_from_the_origin_and_with_small_deviations_stays_exact():
    loc, scale = posteriors(10, 3)
    small = information(loc.double(), scale.double())
    far = information(loc.double() * 1e-3 + 1e3, scale.double() * 1e-3)
    torch.testing.assert_close(far, small, atol=1e-6, rtol=1e-6)


def test_one_item_has_no_others():
    with pytest.raises(ValueError, match="two items"):
        information(torch.zeros(1, 2), torch.ones(1, 2))
    with pytest.raises(ValueError, match="two items"):
        active_units(torch.zeros(1, 2))


def test_a_unit_is_active_above_an_unbiased_variance_of_a_hundredth():
    half_width = 0.1 / math.sqrt(2)  # two items +-w: unbiased variance 2 w^2
    scales = torch.tensor([0.99, 1.01, 0.0, 30.0]) * half_width
    assert active_units(torch.stack([scales, -scales])) == 2


def test_every_deviation_is_counted_in_the_bin_that_holds_it():
    found = scale_histogram(torch.tensor([[1e-9, 1.0, 1.001], [0.999, 1e-4, 1e9]]))
    assert len(found.edges) == len(found.counts) + 1
    assert (found.edges[0], found.edges[-1]) == pytest.approx((1e-4, 1e2))
    # Below and above all edges at the ends; 0.999 in [0.79, 1), one and 1.001 in [1, 1.26).
    wanted = {0: 2, 39: 1, 40: 2, 59: 1}
    assert found.counts == tuple(wanted.get(place, 0) for place in range(60))
    ratios = [high / low for low, high in zip(found.edges, found.edges[1:], strict=False)]
    assert ratios == pytest.approx([10**0.1] * 60)
