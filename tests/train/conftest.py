"""A run small enough for a test: the toy corpus, a tiny WED-S, one CPU process."""

from collections.abc import Callable
from pathlib import Path

import pytest
from lightning_fabric import Fabric

from train.config import RunConfig
from train.data.corpora import CorpusSource
from train.data.examples import Examples, load_examples
from train.launch import launched
from train.overrides import overridden
from train.presets import SMALL
from train.run_folder import RunFolder
from train.run_inputs import RunInputs, make_inputs
from train.validation import Validation
from train.variants import VARIANTS

# 751 training pairs: 11 steps an epoch. Dropout stays on, schedules and warm-up are under way.
TINY_VALUES = (
    "model.embedding_dim=12",
    "model.encoder.hidden_size=10",
    "model.decoder.hidden_size=14",
    "model.posterior.latent_dim=6",
    "data.vocabulary_size=200",
    "optimisation.batch_size=64",
    "optimisation.epochs=3",
    "optimisation.learning_rate=0.01",
)

MakeInputs = Callable[..., RunInputs]


def tiny_config(*values: str, variant: str = "wed_s") -> RunConfig:
    config = VARIANTS[variant](SMALL)
    fitting = [value for value in TINY_VALUES if config.model.latent_dim or "latent" not in value]
    return overridden(config, [*fitting, *values])


@pytest.fixture(scope="session")
def toy() -> Path:
    return Path(__file__).parents[1] / "data" / "toy"


@pytest.fixture(scope="session")
def tiny_flags(toy: Path) -> list[str]:
    """The command line of a tiny run, but for its variant and its output."""
    values = [flag for value in TINY_VALUES for flag in ("--set", value)]
    return ["--data-dir", str(toy), "--device", "cpu", "--precision", "fp32", *values]


@pytest.fixture(scope="session")
def toy_examples(toy: Path) -> Examples:
    return load_examples(CorpusSource(corpus="dailydialog", data_dir=toy))


@pytest.fixture(scope="session")
def make_tiny(toy_examples: Examples) -> MakeInputs:
    """Inputs of a tiny run: ``make_tiny("path=value", ..., variant="ded")``."""

    def make(*values: str, variant: str = "wed_s") -> RunInputs:
        return make_inputs(tiny_config(*values, variant=variant), toy_examples)

    return make


@pytest.fixture(scope="session")
def fabric() -> Fabric:
    return launched("cpu", "fp32")


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    made = RunFolder(tmp_path / "run")
    made.path.mkdir()
    return made


@pytest.fixture
def found() -> Validation:
    """A validation of a model whose latent speaks."""
    return Validation(
        objective=4.0,
        is_settled=True,
        nll=3.0,
        nll_per_token=0.5,
        terms={"mmd": 1.0},
        posterior_scale=0.5,
        latent_variance=0.2,
        active_units=5,
        channel_nats=7.0,
    )


@pytest.fixture(autouse=True)
def _no_corpora_dir(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test says where its corpus is; the environment of whoever runs it plays no part."""
    monkeypatch.delenv("CORPORA_DIR", raising=False)
