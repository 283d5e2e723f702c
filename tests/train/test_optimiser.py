"""The learning rate over a run."""

import math

import pytest
import torch
from torch import nn

from train.config import OptimisationConfig
from train.optimiser import build_optimiser, clip, learning_rate
from train.presets import PAPER, SMALL


def config(**values: object) -> OptimisationConfig:
    return OptimisationConfig.model_validate({"epochs": 10, "batch_size": 8, **values})


@pytest.mark.parametrize(
    ("progress", "expected"),
    [
        (0.0, 1e-5),  # a hundredth of the peak: the first step should not be lost
        (0.05, 5e-4),
        (0.1, 1e-3),
        (0.325, 1e-5 + 0.99e-3 * (1 + 2**-0.5) / 2),  # a quarter of the way down
        (0.55, 1e-5 + 0.99e-3 / 2),
        (1.0, 1e-5),
    ],
)
def test_cosine_after_a_warm_up(progress: float, expected: float):
    made = config(learning_rate=1e-3, final_learning_rate=1e-5, warmup=0.1)
    assert learning_rate(made, progress) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("progress", "expected"),
    [(0.0, 1e-3), (1 / 200, 0.98e-3), (0.5, 1e-3 * 0.98**100), (1.0, 1.76e-5)],
)
def test_exponential_decay_of_the_paper(progress: float, expected: float):
    assert learning_rate(PAPER.wasserstein.optimisation, progress) == pytest.approx(
        expected, rel=1e-3
    )


def test_exponential_decay_stops_at_the_final_rate():
    made = config(epochs=1000, decay="exponential", warmup=0.0)
    assert learning_rate(made, 0.9) == 1e-5


@pytest.mark.parametrize(
    ("step", "halvings"), [(0, 0), (30_000, 0), (31_999, 0), (32_000, 1), (40_500, 5), (60_000, 15)]
)
def test_the_coupled_vae_s_learning_rate_halves_every_2000_steps_above_30000(
    step: int, halvings: int
):
    config = PAPER.conditional.optimisation
    assert learning_rate(config, step / 60_000) == pytest.approx(1e-3 * 0.5**halvings)


def test_adam_has_the_configs_values():
    (group,) = build_optimiser(nn.Linear(2, 2), config(weight_decay=0.1)).param_groups
    assert (group["lr"], group["weight_decay"], group["betas"]) == (1e-3, 0.1, (0.9, 0.999))
    assert SMALL.wasserstein.optimisation.weight_decay == 0.0


@pytest.mark.parametrize("most", [0.5, 13.0, 100.0])
def test_gradients_are_clipped_as_the_library_clips_them(most: float):
    layers = nn.Linear(2, 2), nn.Linear(2, 2)
    for layer in layers:
        layer.weight.grad = torch.tensor([[3.0, 4.0], [0.0, 12.0]])  # of norm 13; biases have none
    found = clip(list(layers[0].parameters()), most)
    wanted = nn.utils.clip_grad_norm_(layers[1].parameters(), most)
    assert found == wanted == 13
    torch.testing.assert_close(layers[0].weight.grad, layers[1].weight.grad)


def test_a_norm_that_is_no_number_spoils_every_gradient():
    layer = nn.Linear(2, 2)
    layer.weight.grad, layer.bias.grad = torch.full((2, 2), math.nan), torch.ones(2)
    assert clip(list(layer.parameters()), 1.0).isnan()
    assert layer.bias.grad.isnan().all()
