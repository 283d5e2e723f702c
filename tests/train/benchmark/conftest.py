"""Cases small enough for a test."""

from collections.abc import Callable

import pytest

from train.benchmark.lengths import PLACES, Lengths
from train.benchmark.workbench import Case, Workbench
from train.config import RunConfig
from train.overrides import overridden
from train.presets import SMALL
from train.variants import VARIANTS

TINY_LENGTHS = Lengths(
    pairs=40,
    contexts=tuple(round(1 + 8 * place) for place in PLACES),
    responses=tuple(round(2 + 5 * place) for place in PLACES),
)
TINY_VALUES = (
    "model.embedding_dim=12",
    "model.encoder.hidden_size=10",
    "model.decoder.hidden_size=14",
    "data.vocabulary_size=60",
    "optimisation.batch_size=8",
)


def tiny_config(variant: str, *values: str) -> RunConfig:
    return overridden(VARIANTS[variant](SMALL), [*TINY_VALUES, *values])


def tiny_case(variant: str = "wed_s", *values: str) -> Case:
    config = tiny_config(variant, *values)
    return Case(config=config, lengths=TINY_LENGTHS, pairs=40, device="cpu", precision="fp32")


@pytest.fixture
def make_bench() -> Callable[..., Workbench]:
    """``make_bench("wed_s", "path=value", ...)``: a tiny run, built."""
    return lambda *values: Workbench(tiny_case(*values))
