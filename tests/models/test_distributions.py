"""One battery for every distribution over z: sampler, density and divergence must agree."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from torch.distributions import Distribution, kl_divergence

from dialog_service.models.distributions import (
    DiagonalGaussian,
    Dirac,
    divergence_from_unit_scale,
)

B, Z, DRAWS = 3, 2, 40_000
LOC = torch.tensor([[0.0, 1.0], [-2.0, 0.5], [3.0, 0.0]])
SCALE = torch.tensor([[1.0, 0.5], [0.1, 2.0], [1.5, 0.3]])


@dataclass(frozen=True)
class Member:
    """One distribution of the family, as a function of what it learns."""

    build: Callable[[Tensor, Tensor], DiagonalGaussian | Dirac]
    has_density: bool


FAMILY = {
    "gaussian": Member(DiagonalGaussian, has_density=True),
    "dirac": Member(lambda loc, scale: Dirac(loc), has_density=False),
}
each_member = pytest.mark.parametrize("member", FAMILY.values(), ids=list(FAMILY))
each_dense = pytest.mark.parametrize(
    "member", [m for m in FAMILY.values() if m.has_density], ids=lambda _: "dense"
)


@each_member
def test_shapes(member: Member) -> None:
    belief = member.build(LOC, SCALE)
    assert belief.batch_shape == (B,)
    assert belief.event_shape == (Z,)
    assert belief.loc.shape == belief.scale.shape == belief.mean.shape == (B, Z)
    assert belief.rsample().shape == (B, Z)
    assert belief.rsample((5,)).shape == (5, B, Z)


@each_member
def test_draws_have_the_moments_that_are_claimed(member: Member) -> None:
    torch.manual_seed(0)
    belief = member.build(LOC, SCALE)
    draws = belief.rsample((DRAWS,))
    deviation = belief.variance.sqrt()
    torch.testing.assert_close(belief.scale, deviation)
    assert ((draws.mean(0) - belief.mean).abs() <= 5 * deviation / math.sqrt(DRAWS) + 1e-5).all()
    torch.testing.assert_close(draws.std(0), deviation, rtol=5 / math.sqrt(2 * DRAWS), atol=1e-5)


@each_member
def test_draws_carry_gradients_and_follow_the_seed(member: Member) -> None:
    loc = LOC.clone().requires_grad_()
    belief = member.build(loc, SCALE)
    torch.manual_seed(1)
    draw = belief.rsample()
    torch.manual_seed(1)
    assert torch.equal(belief.rsample(), draw)
    draw.sum().backward()
    torch.testing.assert_close(loc.grad, torch.ones(B, Z))


@each_dense
def test_the_density_integrates_to_one_and_is_that_of_the_draws(member: Member) -> None:
    belief = member.build(LOC, SCALE)
    steps = torch.linspace(-9, 9, 721)
    grid = torch.cartesian_prod(steps, steps)[:, None]  # (G, 1, Z)
    density = belief.log_prob(grid * SCALE + LOC).exp() * SCALE.prod(1)
    torch.testing.assert_close(density.sum(0) * (18 / 720) ** 2, torch.ones(B), atol=1e-3, rtol=0)
    torch.manual_seed(2)
    entropy = -belief.log_prob(belief.rsample((DRAWS,))).mean(0)
    torch.testing.assert_close(entropy, belief.entropy(), atol=5 / math.sqrt(DRAWS), rtol=0)


@each_dense
def test_the_closed_divergence_is_that_of_draws(member: Member) -> None:
    torch.manual_seed(3)
    p = member.build(LOC, SCALE)
    q = member.build(LOC.flip(0) / 2, SCALE.flip(1) + 1)
    closed = kl_divergence(p, q)
    assert closed.shape == (B,)
    z = p.rsample((DRAWS,))
    log_ratio = p.log_prob(z) - q.log_prob(z)
    error = 5 * log_ratio.std(0) / math.sqrt(DRAWS)
    assert ((log_ratio.mean(0) - closed).abs() <= error).all()
    torch.testing.assert_close(kl_divergence(p, p), torch.zeros(B))


def test_the_divergence_of_two_gaussians_by_hand() -> None:
    p = DiagonalGaussian(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.5, 2.0]]))
    assert kl_divergence(p, DiagonalGaussian.standard(p.loc)).item() == pytest.approx(1.625)


def test_the_standard_normal_takes_shape_and_type_from_its_model() -> None:
    standard = DiagonalGaussian.standard(LOC.double())
    assert standard.loc.dtype == torch.float64
    assert torch.equal(standard.loc, torch.zeros(B, Z, dtype=torch.float64))
    assert torch.equal(standard.scale, torch.ones(B, Z, dtype=torch.float64))


def test_the_divergence_from_unit_scale_by_hand() -> None:
    loc = torch.tensor([[7.0, -3.0, 0.0], [0.0, 0.0, 9.0]], requires_grad=True)
    scale = torch.tensor([[0.5, 1.0, 2.0], [1.0, 1.0, 1.0]], requires_grad=True)
    divergence = divergence_from_unit_scale(DiagonalGaussian(loc, scale))
    assert divergence.tolist() == pytest.approx([1.125, 0.0])
    divergence.sum().backward()
    torch.testing.assert_close(scale.grad, (scale - 1 / scale).detach())
    assert loc.grad is None or not loc.grad.any()


def test_a_point_mass_has_no_density_and_no_divergence() -> None:
    point: Distribution = Dirac(LOC)
    with pytest.raises(TypeError, match="no density"):
        point.log_prob(LOC)
    with pytest.raises(NotImplementedError):
        kl_divergence(point, DiagonalGaussian.standard(LOC))
