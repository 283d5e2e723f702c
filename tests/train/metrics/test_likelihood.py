"""Likelihoods against integrals done by quadrature, tokens one at a time, and sums by hand."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions.kl import kl_divergence
from variants_under_test import padded, tiny_batch, tiny_config

from dialog_service.models.distributions import DiagonalGaussian
from dialog_service.models.seq2seq import Batch, LatentSeq2Seq, build_model
from train.metrics import likelihood as module
from train.metrics.intervals import Estimate
from train.metrics.likelihood import (
    divergence_from_prior,
    likelihood_figures,
    likelihood_kind,
    negative_log_likelihood,
    response_nats,
)

GRID, DRAWS = 801, 8000


def built(variant: str, latent_dim: int | None = None) -> LatentSeq2Seq:
    """A model with opinions: an untrained one hardly looks at z."""
    # Words that are told apart less sharply, so that draws estimate an integral closely.
    config = tiny_config(variant).model.model_copy(update={"embedding_std": 0.3})
    if latent_dim:
        posterior = config.posterior.model_copy(update={"latent_dim": latent_dim})
        config = config.model_copy(update={"posterior": posterior})
    torch.manual_seed(3)
    model = build_model(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2).add_(0.2 * torch.randn_like(parameter))
    return model


def line_of_codes(variant: str) -> LatentSeq2Seq:
    """With Z = 1 and a posterior that differs from the prior, is wider: a fair proposal."""
    model = built(variant, latent_dim=1)
    with torch.no_grad():
        for belief in (model.posterior, model.prior):
            for part in (getattr(belief, name, None) for name in ("loc", "log_scale")):
                if part is not None:
                    part.weight.mul_(0.1)
                    part.bias.fill_(0.2)
        model.posterior.loc.bias.add_(0.5)
        model.posterior.log_scale.bias.add_(0.5)
    return model


def noise(draws: int, rows: int, size: int) -> Tensor:
    return torch.randn(draws, rows, size, generator=torch.Generator().manual_seed(5))


def estimated(model: LatentSeq2Seq, batch: Batch, draws: int) -> Tensor:
    with torch.no_grad():
        drawn = noise(draws, len(batch.targets), model.config.latent_dim)
        return negative_log_likelihood(model, batch, model.infer(batch), drawn)


def integrated(model: LatentSeq2Seq, batch: Batch, *, over_prior: bool) -> Tensor:
    """-log of the integral of p(z) p(r | z) over a line of codes, by the trapezoid rule: (B,)."""
    with torch.no_grad():
        inference = model.infer(batch)
        belief = inference.prior if over_prior else inference.posterior
        assert belief is not None
        deviations = torch.linspace(-9, 9, GRID)[:, None, None]
        z = belief.loc + belief.scale * deviations  # (GRID, B, 1)
        nats = response_nats(model, batch, z, inference.context)
    log_density = -0.5 * deviations.double().square()[..., 0] - 0.5 * math.log(2 * math.pi)
    return -(log_density - nats).logsumexp(dim=0) - math.log(18 / (GRID - 1))


def test_a_response_costs_what_its_words_cost_one_at_a_time():
    model, batch = built("cvae"), tiny_batch()
    with torch.no_grad():
        inference = model.infer(batch)
        z = noise(3, 5, model.config.latent_dim)
        found = response_nats(model, batch, z, inference.context)
        for draw, codes in enumerate(z):
            features = model.features(batch, codes, inference.context)
            scores = model.decoder.logits(padded(features, batch))  # (B, T, V)
            scores = scores.log_softmax(-1).double()
            for row, length in enumerate(batch.target_lengths.tolist()):
                words = [scores[row, t, batch.targets[row, t]] for t in range(length)]
                assert float(found[draw, row]) == pytest.approx(-float(sum(words)), rel=1e-6)


@pytest.mark.parametrize("variant", ["ved", "cvae"])
def test_blocks_padding_and_company_change_nothing(variant: str, monkeypatch: pytest.MonkeyPatch):
    model, batch, z = built(variant), tiny_batch(), noise(7, 5, 6)
    with torch.no_grad():
        context = model.infer(batch).context
        whole = response_nats(model, batch, z, context)
        monkeypatch.setattr(module, "DECODED_TOKENS", 80)
        monkeypatch.setattr(module, "SCORED_TOKENS", 3)
        found = response_nats(model, batch, z, context)
        torch.testing.assert_close(found, whole, rtol=1e-6, atol=1e-5)
        for row, length in enumerate(batch.target_lengths.tolist()):
            alone = Batch(*(part[row : row + 1] for part in batch))
            alone = alone._replace(
                inputs=alone.inputs[:, :length], targets=alone.targets[:, :length]
            )
            found = response_nats(model, alone, z[:, row : row + 1], context[row : row + 1])
            torch.testing.assert_close(found, whole[:, row : row + 1], rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("variant", ["cvae", "coupled_cvae"])
def test_importance_sampling_gives_the_integral_over_the_prior(variant: str):
    model, batch = line_of_codes(variant), tiny_batch()
    exact = integrated(model, batch, over_prior=True)
    assert likelihood_kind(model) == "importance"
    torch.testing.assert_close(estimated(model, batch, DRAWS), exact, atol=0.05, rtol=0)
    # The posterior is another distribution: without its densities the figure is another.
    assert (integrated(model, batch, over_prior=False) - exact).abs().max() > 0.1


@pytest.mark.parametrize("variant", ["ved", "wed_s"])
def test_the_predictive_is_the_integral_over_codes_of_the_post(variant: str):
    model, batch = line_of_codes(variant), tiny_batch()
    exact = integrated(model, batch, over_prior=False)
    assert likelihood_kind(model) == "predictive"
    torch.testing.assert_close(estimated(model, batch, DRAWS), exact, atol=0.05, rtol=0)
    assert (integrated(model, batch, over_prior=True) - exact).abs().max() > 0.1


@pytest.mark.parametrize("variant", ["ded", "wed_d", "gru"])
def test_with_one_code_a_post_the_likelihood_is_exact(variant: str):
    model, batch = built(variant), tiny_batch()
    assert likelihood_kind(model) == "exact"
    with torch.no_grad():
        inference = model.infer(batch)
        one = response_nats(model, batch, inference.posterior.loc[None], inference.context)[0]
    assert (estimated(model, batch, 1) == one).all()
    assert (estimated(model, batch, 9) == one).all()
    assert divergence_from_prior(inference) is None


def test_weights_far_below_the_smallest_number_still_add_up(monkeypatch: pytest.MonkeyPatch):
    model, batch = built("ved"), tiny_batch()
    monkeypatch.setattr(
        module, "response_nats", lambda _, __, z, ___: torch.full((len(z), 5), 1e4).double()
    )
    assert estimated(model, batch, 100).tolist() == pytest.approx([1e4] * 5)


@pytest.mark.parametrize("variant", ["ved", "cvae"])
def test_divergence_is_what_sampling_says(variant: str):
    model, batch = built(variant), tiny_batch()
    with torch.no_grad():
        inference = model.infer(batch)
        found = divergence_from_prior(inference)
        q = DiagonalGaussian(inference.posterior.loc.double(), inference.posterior.scale.double())
        p = DiagonalGaussian(inference.prior.loc.double(), inference.prior.scale.double())
        z = q.loc + q.scale * noise(20_000, 5, 6).double()
        sampled = (q.log_prob(z) - p.log_prob(z)).mean(dim=0)
    torch.testing.assert_close(found, kl_divergence(q, p))
    torch.testing.assert_close(found, sampled, rtol=0.02, atol=0.02)


SUMS = np.array([[2, 20, 60, 50.0, 4.0], [1, 5, 15, 10.0, 5.0]])  # two dialogues, by Column


def test_figures_are_ratios_of_sums():
    found = likelihood_figures(SUMS, has_kl=True, seed=0)
    values = {name: estimate.value for name, estimate in found.items()}
    assert values == pytest.approx(
        {"nll": 20, "ppl": math.exp(60 / 25), "bits_per_char": 60 / 75 / math.log(2), "kl": 3}
    )
    assert found["nll"].low == 10  # only the second dialogue, twice
    assert found["nll"].high == 25
    assert likelihood_figures(SUMS, has_kl=True, seed=0) == found


def test_figures_that_cannot_be_are_left_out():
    assert "kl" not in likelihood_figures(SUMS, has_kl=False, seed=0)
    assert likelihood_figures(SUMS[:1], has_kl=False, seed=0)["nll"] == Estimate(25.0)
    far = SUMS * [1, 1, 0, 1e4, 1]  # no character at all, and a perplexity beyond all numbers
    assert set(likelihood_figures(far, has_kl=True, seed=0)) == {"nll", "kl"}
    broken = SUMS * [1, 1, 1, math.inf, 1]
    assert likelihood_figures(broken, has_kl=True, seed=0) == {}
