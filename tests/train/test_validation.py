"""Figures of a validation pass, and whether the latent still carries the post."""

import json
import math
from dataclasses import replace

import pytest
import torch

from dialog_service.checkpoint import Checkpoint
from dialog_service.models.seq2seq import build_model
from train.objectives.objective import TrainingPass
from train.run_inputs import RunInputs
from train.validation import Validation, sample_replies, validate
from train.variants import VARIANTS


def training_pass(inputs: RunInputs) -> TrainingPass:
    torch.manual_seed(3)
    return TrainingPass(build_model(inputs.config.model), inputs.config.objective)


@pytest.fixture(params=VARIANTS)
def inputs(request: pytest.FixtureRequest, make_tiny) -> RunInputs:
    return make_tiny(variant=request.param)


def test_every_figure_is_finite_and_fits_into_json(inputs: RunInputs):
    trained = training_pass(inputs)
    figures = validate(trained, inputs.validation, batch_size=16).figures()
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures
    terms = {
        term.kind: term.weight
        for term in inputs.config.objective.terms
        if trained.objective.terms[term.kind].judges_model and term.schedule.kind != "sigmoid"
    }
    weighted = sum(weight * figures[kind] for kind, weight in terms.items())
    # A sigmoid counts as far as it has come: before the first step, next to nothing.
    assert figures["objective"] == pytest.approx(figures["nll"] + weighted, rel=1e-2)
    tokens = inputs.validation.mean_target_tokens
    assert figures["nll_per_token"] == pytest.approx(figures["nll"] / tokens)
    is_noisy = inputs.config.model.posterior.kind == "gaussian"
    assert ("channel_nats" in figures) is is_noisy


def test_measuring_leaves_no_trace(inputs: RunInputs):
    trained = training_pass(inputs).train()
    torch.manual_seed(8)
    expected = torch.randn(3)
    torch.manual_seed(8)
    first = validate(trained, inputs.validation, batch_size=16)
    assert torch.equal(torch.randn(3), expected)
    assert trained.training
    assert all(parameter.grad is None for parameter in trained.parameters())
    assert validate(trained, inputs.validation, batch_size=16).figures() == first.figures()


def test_every_pair_counts_once_whatever_the_batches(make_tiny):
    inputs = make_tiny(variant="ded")
    trained = training_pass(inputs)
    small, large = (validate(trained, inputs.validation, batch_size=size) for size in (7, 1000))
    assert small.nll == pytest.approx(large.nll, rel=1e-5)
    assert small.latent_variance == pytest.approx(large.latent_variance, rel=1e-4)


def test_a_channel_is_the_sum_over_its_units(make_tiny):
    inputs = make_tiny()
    trained = training_pass(inputs)
    found = validate(trained, inputs.validation, batch_size=16)
    batch = inputs.validation.batch(torch.arange(len(inputs.validation)))
    with torch.no_grad():
        belief = trained.eval().model.infer(batch).posterior
    variance = belief.loc.double().var(0)
    noise = belief.scale.double().square().mean(0)
    nats = sum(
        math.log1p(v / n) / 2 for v, n in zip(variance.tolist(), noise.tolist(), strict=True)
    )
    assert found.channel_nats == pytest.approx(nats, rel=1e-3)
    assert found.latent_variance == pytest.approx(float(variance.mean()), rel=1e-3)
    assert found.posterior_scale == pytest.approx(float(belief.scale.mean()), rel=1e-3)
    assert found.active_units == int((variance > 0.01).sum())


def silenced(inputs: RunInputs) -> TrainingPass:
    """Its code is the same for every post."""
    trained = training_pass(inputs)
    for belief in (trained.model.posterior, trained.model.prior):
        if hasattr(belief, "loc"):
            torch.nn.init.zeros_(belief.loc.weight)
    return trained


def test_a_code_that_does_not_move_is_mute(inputs: RunInputs):
    if not inputs.config.model.latent_dim:
        return  # without a code there is nothing to be mute
    found = validate(silenced(inputs), inputs.validation, batch_size=16)
    assert found.is_latent_mute
    assert found.channel_nats == pytest.approx(0.0, abs=1e-5)
    assert json.dumps(found.figures(), allow_nan=False)


def test_without_a_code_there_is_nothing_to_be_mute(make_tiny):
    inputs = make_tiny(variant="gru")
    found = validate(training_pass(inputs), inputs.validation, batch_size=16)
    assert not found.is_latent_mute
    assert "latent_variance" not in found.figures()


@pytest.mark.parametrize(
    ("changes", "is_mute"),
    [
        ({}, False),
        ({"channel_nats": 0.9}, True),  # drowned in its own noise
        ({"active_units": 0}, True),
        ({"posterior_scale": 0.0, "channel_nats": math.inf, "active_units": 0}, False),
        ({"posterior_scale": 0.0, "latent_variance": 1e-6}, True),
    ],
    ids=["speaks", "drowned", "still", "small point", "still point"],
)
def test_mute_is_judged_by_what_the_code_can_carry(
    found: Validation, changes: dict[str, float], is_mute: bool
):
    assert replace(found, **changes).is_latent_mute is is_mute


@pytest.fixture
def checkpoint(make_tiny) -> Checkpoint:
    inputs = make_tiny()
    return Checkpoint(
        model=training_pass(inputs).model.train(),
        vocabulary=inputs.vocabulary,
        sampling=inputs.config.sampling,
        meta=inputs.meta,
    )


def test_sample_replies_are_a_few_per_post_and_leave_no_trace(checkpoint: Checkpoint):
    torch.manual_seed(8)
    expected = torch.randn(3)
    torch.manual_seed(8)
    replies = sample_replies(checkpoint, ["How are you?", "Where is the bank?"])
    assert [len(texts) for texts in replies] == [3, 3]
    assert replies == sample_replies(checkpoint, ["How are you?", "Where is the bank?"])
    assert torch.equal(torch.randn(3), expected)
    assert checkpoint.model.training
