"""Variants that must coincide where their difference is switched off (same seed and noise)."""

import torch
from variants_under_test import tiny_batch, tiny_config

from dialog_service.models.seq2seq import LatentSeq2Seq, build_model
from train.config import ObjectiveConfig
from train.objectives.objective import Objective, Step, TrainingPass


def seeded(variant: str) -> LatentSeq2Seq:
    torch.manual_seed(11)
    return build_model(tiny_config(variant).model)


def test_wed_s_with_no_scale_is_wed_d() -> None:
    stochastic, deterministic = seeded("wed_s"), seeded("wed_d")
    shared = deterministic.state_dict()
    stochastic.load_state_dict(shared, strict=False)
    torch.nn.init.constant_(stochastic.posterior.log_scale.bias, -100.0)
    stochastic.posterior.clamp = (-100.0, 4.0)
    batch = tiny_batch()
    objective = Objective(tiny_config("wed_d").objective, deterministic)
    torch.manual_seed(5)
    with_scale = objective(stochastic, batch, stochastic(batch), Step(progress=1.0))
    torch.manual_seed(5)
    torch.randn(5, 6)  # the draw of z that WED-D does not make
    without = objective(deterministic, batch, deterministic(batch), Step(progress=1.0))
    torch.testing.assert_close(with_scale.total, without.total)


def test_wed_d_with_no_weight_is_ded() -> None:
    batch = tiny_batch()
    terms = tiny_config("wed_d").objective.terms
    weightless = ObjectiveConfig(
        terms=tuple(term.model_copy(update={"weight": 0.0}) for term in terms)
    )
    wed = TrainingPass(seeded("wed_d"), weightless)(batch, Step(progress=1.0))
    ded = TrainingPass(seeded("ded"), ObjectiveConfig())(batch, Step(progress=1.0))
    torch.testing.assert_close(wed.total, ded.total)
