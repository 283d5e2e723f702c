"""MMD: values worked out by hand, and what makes it a divergence."""

import pytest
import torch
from torch import Tensor

from train.objectives.mmd import KERNEL_SCALES, Kernel, inverse_multiquadratic, mmd

Q = torch.tensor([[0.0, 0.0], [1.0, 1.0], [2.0, 0.0]], dtype=torch.float64)
P = torch.tensor([[0.0, 1.0], [-1.0, 0.0], [1.0, -1.0]], dtype=torch.float64)


def literal_equation_3(q: Tensor, p: Tensor, kernel: Kernel) -> float:
    """The paper's Equation 3 as printed: the cross term counts once."""
    rows = range(len(q))
    pairs = [(n, m) for n in rows for m in rows if n != m]
    k_q, k_p, k_qp = kernel(q, q), kernel(p, p), kernel(q, p)
    within = sum(float(k_q[n, m]) + float(k_p[n, m]) for n, m in pairs) / len(pairs)
    return within - sum(float(k_qp[n, m]) for n in rows for m in rows) / len(q) ** 2


@pytest.mark.parametrize(
    ("base_per_dimension", "value", "literal"),
    [(4, -0.359746, 4.384451), (2, -0.429699, 3.590889)],
)
def test_golden_values(base_per_dimension: int, value: float, literal: float) -> None:
    """Computed apart from this project in float64; the printed equation gives something else."""
    kernel = inverse_multiquadratic(2.0 * base_per_dimension)
    assert mmd(Q, P, kernel).item() == pytest.approx(value, abs=5e-7)
    assert literal_equation_3(Q, P, kernel) == pytest.approx(literal, abs=5e-7)
    assert mmd(P, Q, kernel).item() == pytest.approx(value, abs=5e-7)


def test_the_kernel_sums_seven_scales() -> None:
    kernel = inverse_multiquadratic(6.0)
    x, y = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[4.0, 6.0]])
    wanted = [sum(6 * s / (6 * s + squared) for s in KERNEL_SCALES) for squared in (25.0, 52.0)]
    assert kernel(x, y).flatten().tolist() == pytest.approx(wanted)
    assert kernel(x, x).diagonal().tolist() == pytest.approx([7, 7])


def test_gradients_are_those_of_finite_differences() -> None:
    kernel = inverse_multiquadratic(4.0)
    q, p = Q.clone().requires_grad_(), P.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: mmd(a, b, kernel), (q, p))


def test_it_is_least_where_the_codes_look_like_the_prior() -> None:
    """The measurements of codes a N(0, I): 128 rows, 300 dimensions, base 4 per dimension."""
    torch.manual_seed(0)
    kernel = inverse_multiquadratic(1200.0)
    found = {
        a: sum(
            mmd(a * torch.randn(128, 300), torch.randn(128, 300), kernel).item() for _ in range(10)
        )
        / 10
        for a in (0.5, 1.0, 2.0)
    }
    assert found == pytest.approx({0.5: 0.361, 1.0: 0.0, 2.0: 0.502}, abs=0.005)


def test_equal_distributions_give_zero_on_average() -> None:
    torch.manual_seed(1)
    kernel = inverse_multiquadratic(8.0)
    values = torch.stack([mmd(torch.randn(8, 4), torch.randn(8, 4), kernel) for _ in range(2000)])
    assert values.min() < 0 < values.max()
    assert abs(values.mean()) < 5 * values.std() / 2000**0.5


def test_one_example_is_too_few() -> None:
    with pytest.raises(ValueError, match="at least 2 examples, got 1"):
        mmd(Q[:1], P[:1], inverse_multiquadratic(1.0))
