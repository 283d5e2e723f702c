"""Gradient norms against finite differences, and where the pieces of a model are missing."""

import pytest
import torch
from torch import Tensor
from variants_under_test import tiny_batch, tiny_config

from dialog_service.models.seq2seq import Inference, LatentSeq2Seq, build_model
from train.metrics.gradients import gradient_norms
from train.metrics.likelihood import divergence_from_prior, response_nats


def built(variant: str) -> LatentSeq2Seq:
    torch.manual_seed(3)
    model = build_model(tiny_config(variant).model).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def noise(model: LatentSeq2Seq) -> Tensor:
    size = model.config.latent_dim
    return torch.randn(5, size, generator=torch.Generator().manual_seed(5))


def by_differences(model: LatentSeq2Seq, values, seen: Tensor) -> Tensor:
    """The Jacobian of (B, G) ``values`` of (B, P) encoded texts, by central differences."""
    step = 0.005
    columns = []
    for place in range(seen.shape[1]):
        shift = torch.zeros_like(seen)
        shift[:, place] = step
        columns.append((values(seen + shift) - values(seen - shift)) / (2 * step))
    return torch.stack(columns, dim=-1)  # (B, G, P)


@pytest.mark.parametrize("variant", ["ved", "cvae"])
def test_norms_are_those_of_finite_differences(variant: str):
    model, batch = built(variant), tiny_batch()
    drawn = noise(model)
    with torch.no_grad():
        given = model.infer(batch)

        def code(seen: Tensor) -> Tensor:
            posterior = model.posterior(seen)
            return posterior.loc + posterior.scale * drawn

        def rec(seen: Tensor) -> Tensor:
            return response_nats(model, batch, code(seen)[None], given.context).T

        def kl(seen: Tensor) -> Tensor:
            inference = Inference(
                context=given.context,
                seen=seen,
                posterior=model.posterior(seen),
                prior=given.prior,
            )
            return divergence_from_prior(inference)[:, None]

        def signal(seen: Tensor) -> Tensor:
            return model.bridge.code(code(seen))

        slopes = {
            name: by_differences(model, values, given.seen).flatten(1).norm(dim=1)
            for name, values in (("reconstruction", rec), ("kl", kl), ("signal", signal))
        }
        slopes["signal"] /= signal(given.seen).norm(dim=1)
    found = gradient_norms(model, batch, drawn)
    assert set(found) == set(slopes)
    for name, wanted in slopes.items():
        torch.testing.assert_close(found[name], wanted.double(), rtol=0.02, atol=2e-3)


@pytest.mark.parametrize(
    ("variant", "names"),
    [
        ("gru", set()),
        ("ded", {"reconstruction", "signal"}),
        ("wed_d", {"reconstruction", "signal"}),
        ("wed_s", {"reconstruction", "kl", "signal"}),
        ("coupled_cvae", {"reconstruction", "kl", "signal"}),
    ],
)
def test_what_a_model_lacks_is_left_out(variant: str, names: set[str]):
    model = built(variant)
    found = gradient_norms(model, tiny_batch(), noise(model))
    assert set(found) == names
    assert all(norms.shape == (5,) and (norms > 0).all() for norms in found.values())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_decoder_deaf_to_the_code_hears_nothing():
    model = built("cvae")
    with torch.no_grad():
        model.bridge.code[-1].weight.zero_()
    found = gradient_norms(model, tiny_batch(), noise(model))
    assert (found["reconstruction"] == 0).all()
    assert (found["signal"] == 0).all()
    assert (found["kl"] > 0).all()
