"""The objective: its terms, their weights, and what it asks of other ranks."""

import pytest
import torch
from torch import Tensor
from variants_under_test import tiny_batch, tiny_config

from dialog_service.models.distributions import DiagonalGaussian
from dialog_service.models.seq2seq import Batch, LatentSeq2Seq, ModelOutput, build_model
from train.config import (
    BagOfWordsTerm,
    KlToOwnMeanTerm,
    MmdTerm,
    ObjectiveConfig,
    RampSchedule,
    TermConfig,
)
from train.objectives.mmd import inverse_multiquadratic, mmd
from train.objectives.objective import BagOfWords, Losses, Mmd, Objective, Step, TrainingPass
from train.objectives.reconstruction import reconstruction

MMD = MmdTerm(weight=3.0, per="example", base_per_dimension=4.0)
SPREAD = KlToOwnMeanTerm(weight=0.5, per="example", schedule=RampSchedule(start=0.2, end=0.4))


@pytest.fixture
def model() -> LatentSeq2Seq:
    torch.manual_seed(0)
    return build_model(tiny_config("wed_s").model).eval()


@pytest.fixture
def output(model: LatentSeq2Seq) -> ModelOutput:
    return model(tiny_batch())


def losses(
    terms: tuple[TermConfig, ...], model: LatentSeq2Seq, output: ModelOutput, step: Step
) -> Losses:
    torch.manual_seed(1)  # of the prior's draws
    objective = Objective(ObjectiveConfig(terms=terms), model)
    return objective(model, tiny_batch(), output, step)


@pytest.mark.parametrize(("progress", "share"), [(0.1, 0.0), (0.3, 0.5), (1.0, 1.0)])
def test_the_total_is_reconstruction_and_weighted_terms(
    progress: float, share: float, model: LatentSeq2Seq, output: ModelOutput
) -> None:
    found = losses((MMD, SPREAD), model, output, Step(progress=progress))
    torch.testing.assert_close(
        found.reconstruction, reconstruction(model.decoder, tiny_batch(), output.features)
    )
    weighted = 3.0 * found.terms["mmd"] + 0.5 * share * found.terms["kl_to_own_mean"]
    torch.testing.assert_close(found.total, found.reconstruction + weighted)


def test_terms_are_reported_unweighted(model: LatentSeq2Seq, output: ModelOutput) -> None:
    found = losses((MMD, SPREAD), model, output, Step(progress=0.0)).terms
    torch.manual_seed(1)
    prior_z = DiagonalGaussian.standard(output.z).sample()
    kernel = inverse_multiquadratic(4.0 * output.z.shape[1])
    torch.testing.assert_close(found["mmd"], mmd(output.z, prior_z, kernel))
    scale = output.posterior.scale
    by_hand = (-scale.log() + scale.square() / 2 - 0.5).sum(1).mean()
    torch.testing.assert_close(found["kl_to_own_mean"], by_hand)


def test_without_terms_the_loss_is_reconstruction(
    model: LatentSeq2Seq, output: ModelOutput
) -> None:
    found = losses((), model, output, Step(progress=1.0))
    assert found.total is found.judgement is found.reconstruction
    assert found.terms == {}


@pytest.mark.parametrize("term", [MMD, SPREAD], ids=["mmd", "kl_to_own_mean"])
def test_a_weight_stated_per_token_is_refused(term: TermConfig, model: LatentSeq2Seq) -> None:
    stated = term.model_copy(update={"per": "token"})
    with pytest.raises(ValueError, match=f"{term.kind!r}: the weight is not in nats per example"):
        Objective(ObjectiveConfig(terms=(stated,)), model)


def test_mmd_compares_the_codes_of_all_ranks(model: LatentSeq2Seq, output: ModelOutput) -> None:
    gathered: list[Tensor] = []

    def two_ranks(local: Tensor) -> Tensor:
        gathered.append(local)
        return torch.cat([local, local + 1])

    found = Mmd(MMD)(model, tiny_batch(), output, Step(progress=1.0, gather=two_ranks))
    posterior_z, prior_z = gathered
    assert torch.equal(posterior_z, output.z)
    kernel = inverse_multiquadratic(4.0 * output.z.shape[1])
    torch.testing.assert_close(found, mmd(two_ranks(posterior_z), two_ranks(prior_z), kernel))


def test_mmd_is_computed_in_float32_under_autocast(
    model: LatentSeq2Seq, output: ModelOutput
) -> None:
    exact = losses((MMD,), model, output, Step(progress=1.0)).terms["mmd"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = losses((MMD,), model, output, Step(progress=1.0)).terms["mmd"]
    assert torch.equal(found, exact)


def test_the_order_of_examples_changes_no_loss_but_mmd(model: LatentSeq2Seq) -> None:
    batch, order = tiny_batch(), torch.tensor([3, 0, 4, 1, 2])
    found = []
    for part in (batch, Batch(*(rows[order] for rows in batch))):
        inference = model.infer(part)
        z = inference.posterior.loc
        features = model.features(part, z, inference.context)
        output = ModelOutput(inference=inference, z=z, features=features)
        objective = Objective(ObjectiveConfig(terms=(SPREAD,)), model)
        found.append(objective(model, part, output, Step(progress=1.0)).total)
    torch.testing.assert_close(*found)


def test_a_training_pass_gives_the_loss_and_what_it_was_made_of(model: LatentSeq2Seq) -> None:
    training_pass = TrainingPass(model, ObjectiveConfig(terms=(MMD, SPREAD)))
    torch.manual_seed(2)
    alone = training_pass(tiny_batch(), Step(progress=1.0))
    torch.manual_seed(2)
    measured, output = training_pass.measured(tiny_batch(), Step(progress=1.0))
    torch.testing.assert_close(alone.total, measured.total)
    assert len(output.features) == tiny_batch().target_lengths.sum()


def test_a_bag_of_words_is_every_word_under_one_distribution() -> None:
    torch.manual_seed(0)
    model, batch = build_model(tiny_config("bow_cvae").model).eval(), tiny_batch()
    output = model(batch)
    term = BagOfWords(BagOfWordsTerm(), model)
    found = term(model, batch, output, Step(progress=0.0))
    summed = 0.0
    for row, length in enumerate(batch.target_lengths.tolist()):
        told = torch.cat([output.z[row], output.inference.context[row]])
        scores = term.output(torch.tanh(term.hidden(told)))
        summed -= sum(scores.log_softmax(0)[word].item() for word in batch.targets[row, :length])
    assert found.item() == pytest.approx(summed / 5, rel=1e-5)


def test_targets_are_smoothed_in_training_alone(model: LatentSeq2Seq, output: ModelOutput) -> None:
    objective = Objective(ObjectiveConfig(label_smoothing=0.2), model)
    step, batch = Step(progress=0.5), tiny_batch()
    plain = reconstruction(model.decoder, batch, output.features)
    smoothed = reconstruction(model.decoder, batch, output.features, label_smoothing=0.2)
    assert objective(model, batch, output, step).reconstruction == smoothed
    assert objective.eval()(model, batch, output, step).reconstruction == plain
    assert smoothed != plain


def test_a_term_without_weight_is_not_built(model: LatentSeq2Seq, output: ModelOutput) -> None:
    idle = BagOfWordsTerm(weight=0.0)
    objective = Objective(ObjectiveConfig(terms=(idle, SPREAD)), model)
    assert list(objective.parameters()) == []
    assert set(objective(model, tiny_batch(), output, Step(progress=0.0)).terms) == {SPREAD.kind}
