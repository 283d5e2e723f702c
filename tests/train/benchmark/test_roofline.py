"""Operators beside their ceilings."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from dialog_service.models.recurrence import Recurrence
from tests.train.benchmark.conftest import tiny_case
from train.benchmark.clock import MemoryGauge
from train.benchmark.measurement import Effort, measure_steps
from train.benchmark.operators import operators_of_step
from train.benchmark.plain import measure_plain, plain_copy, plain_loss
from train.benchmark.roofline import measure_roofline
from train.benchmark.workbench import PROGRESS, Workbench
from train.objectives.objective import Step
from train.variants import VARIANTS

BRIEF = Effort(seconds=0.0, repeats=3)
LARGER = (
    "model.decoder.hidden_size=128",
    "data.vocabulary_size=2000",
    "optimisation.batch_size=32",
)


def test_shares_are_below_the_ceiling(make_bench: Callable[..., Workbench]):
    roofline = measure_roofline(make_bench("wed_s", *LARGER), BRIEF, batches=2)
    names = [operator.name for operator in roofline.operators]
    assert names == ["batch", "encoders", "code", "decoder", "words", "optimiser"]
    # Clocks on a busy machine: an operator alone may look faster than its products did.
    assert 0 < roofline.share < 2
    with_products = [operator for operator in roofline.operators if operator.flops]
    assert len(with_products) == 4
    assert all((operator.share or 0) > 0 for operator in with_products)
    assert roofline.flops == sum(operator.flops for operator in with_products)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_parameter_is_reached_by_some_operator(
    make_bench: Callable[..., Workbench], variant: str
):
    bench = make_bench(variant)
    parameters = dict(bench.learner.training_pass.named_parameters())
    reached = set()
    for operator in operators_of_step(bench, next(bench.rows())):
        operator.prepare()
        operator.run()
        if operator.name != "optimiser":
            reached |= {name for name, found in parameters.items() if found.grad is not None}
    assert reached == set(parameters)


def test_measuring_an_operator_moves_no_parameter(make_bench: Callable[..., Workbench]):
    bench = make_bench("coupled_cvae")
    before = [p.detach().clone() for p in bench.learner.training_pass.parameters()]
    for operator in operators_of_step(bench, next(bench.rows())):
        operator.prepare()
        operator.run()
    after = list(bench.learner.training_pass.parameters())
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_steps_learn_and_are_counted(make_bench: Callable[..., Workbench]):
    bench = make_bench("gru")
    before = [p.detach().clone() for p in bench.learner.training_pass.parameters()]
    step = measure_steps(bench, MemoryGauge(torch.device("cpu")), BRIEF)
    assert len(step.seconds) == 3
    assert step.pairs_per_second == pytest.approx(8 / step.median_seconds)
    assert step.parameters == sum(p.numel() for p in before)
    after = bench.learner.training_pass.parameters()
    assert any(not torch.equal(one, other) for one, other in zip(before, after, strict=True))


@pytest.mark.parametrize("variant", ["ded", "gru"])
def test_the_plain_step_is_the_same_model(make_bench: Callable[..., Workbench], variant: str):
    """Without dropout and draws, both give one loss."""
    bench = make_bench(variant)
    own = bench.learner.training_pass.eval()
    batch = bench.pairs.batch(next(bench.rows()))
    expected = own(batch, Step(PROGRESS)).total
    assert plain_loss(plain_copy(own), batch).item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("variant", ["wed_s", "coupled_cvae"])
def test_plain_steps_run(make_bench: Callable[..., Workbench], variant: str):
    assert measure_plain(make_bench(variant), BRIEF).times_longer > 0


def test_plain_steps_are_plain_where_own_ones_are_compiled() -> None:
    bench = Workbench(replace(tiny_case(), precision="bf16"))
    assert measure_plain(bench, BRIEF).times_longer > 0
    copied = plain_copy(bench.learner.training_pass)
    layers = [part for part in copied.modules() if isinstance(part, Recurrence)]
    assert layers
    assert all(layer.walk is None for layer in layers)
