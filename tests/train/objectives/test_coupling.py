"""The companion: its golden distances, what it may move, and what it never touches."""

import pytest
import torch
from variants_under_test import tiny_batch, tiny_config

from dialog_service.models.seq2seq import LatentSeq2Seq, build_model
from train.config import CouplingTerm, KlTerm, ObjectiveConfig
from train.objectives.coupling import rational_quadratic, squared_euclidean
from train.objectives.objective import Losses, Step, TrainingPass

KL = KlTerm(weight=1.0, per="example")


def training_pass(coupling: CouplingTerm | None) -> TrainingPass:
    torch.manual_seed(4)
    model: LatentSeq2Seq = build_model(tiny_config("coupled_cvae").model)
    terms = (KL,) if coupling is None else (KL, coupling)
    return TrainingPass(model, ObjectiveConfig(terms=terms))


def losses(trained: TrainingPass) -> Losses:
    torch.manual_seed(5)
    return trained(tiny_batch(), Step(progress=1.0))


@pytest.mark.parametrize(
    ("squared", "value"),
    [(0, -7), (1, -6.734286), (10, -5.460266), (64, -3.5), (1000, -0.856299)],
)
def test_rational_quadratic_has_its_golden_values(squared: float, value: float) -> None:
    """Values of the seven-scale sum at C = 64, worked out by hand in float64."""
    one = torch.zeros(1, 4, dtype=torch.float64)
    other = torch.full((1, 4), (squared / 4) ** 0.5, dtype=torch.float64)
    assert rational_quadratic(one, other, 64.0).item() == pytest.approx(value, abs=5e-7)


def test_euclidean_is_the_squared_distance() -> None:
    one, other = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[4.0, 6.0], [0.0, 0.0]])
    assert squared_euclidean(one, other).tolist() == [25.0, 0.0]


def test_without_weights_the_coupled_model_is_its_base() -> None:
    alone = losses(training_pass(None))
    coupled = losses(training_pass(CouplingTerm(reconstruction_weight=0.0, match_weight=0.0)))
    torch.testing.assert_close(coupled.total, alone.total, rtol=0, atol=0)
    assert "coupling" in coupled.terms


def test_the_companion_has_no_say_in_which_checkpoint_is_best() -> None:
    found = losses(training_pass(CouplingTerm()))
    torch.testing.assert_close(found.judgement, found.reconstruction + found.terms["kl"])
    assert not torch.equal(found.judgement, found.total)


@pytest.mark.parametrize("match", ["rq", "euclidean"])
def test_the_match_moves_the_model_and_not_the_companion(match: str) -> None:
    trained = training_pass(
        CouplingTerm.model_validate(
            {"reconstruction_weight": 0.0, "match_weight": 1.0, "match": match}
        )
    )
    losses(trained).terms["coupling"].backward()
    moved = {n for n, p in trained.named_parameters() if p.grad is not None and p.grad.any()}
    assert {"model.bridge.code.0.weight", "model.posterior.loc.weight"} <= moved
    assert not any("companion" in name for name in moved)
    # The match is on h: the context's share is in neither side of it.
    assert "model.bridge.context.weight" not in moved


def test_the_companion_s_own_loss_moves_it_and_what_is_shared() -> None:
    trained = training_pass(CouplingTerm(reconstruction_weight=1.0, match_weight=0.0))
    losses(trained).terms["coupling"].backward()
    moved = {n for n, p in trained.named_parameters() if p.grad is not None and p.grad.any()}
    companion = "objective.terms.coupling.companion."
    assert {f"{companion}loc.weight", f"{companion}code.0.weight"} <= moved
    assert {"model.embedding.weight", "model.bridge.context.weight"} <= moved
    assert "model.bridge.code.0.weight" not in moved
    assert not any(name.startswith("model.decoder.recurrence") for name in moved)


def test_nothing_of_the_companion_is_in_the_model() -> None:
    served = training_pass(CouplingTerm()).model.state_dict()
    plain = build_model(tiny_config("cvae").model).state_dict()
    assert served.keys() == plain.keys()
