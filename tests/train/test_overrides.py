"""``--set path=value``, and one clear line for every way to get it wrong."""

import pytest

from dialog_service.errors import ConfigError
from train.config import RampSchedule, RunConfig
from train.overrides import differences, overridden
from train.presets import SMALL
from train.variants import wed_d, wed_s


@pytest.fixture
def config() -> RunConfig:
    return wed_s(SMALL)


def test_values_are_set_by_their_path(config: RunConfig):
    changed = overridden(
        config,
        [
            "optimisation.epochs=3",
            "model.encoder.hidden_size=64",
            "objective.terms.mmd.weight=3",
            "data.vocabulary_mode=word",
            "data.examples.keep_leaks=true",
            "seed=9",
        ],
    )
    assert changed.optimisation.epochs == 3
    assert changed.model.encoder.hidden_size == 64
    assert [term.weight for term in changed.objective.terms] == [3.0, 0.01]
    assert changed.data.vocabulary_mode == "word"
    assert changed.data.examples.keep_leaks is True
    assert changed.seed == 9
    assert config == wed_s(SMALL)


def test_a_whole_part_is_set_as_json(config: RunConfig):
    schedule = 'objective.terms.mmd.schedule={"kind": "ramp", "start": 0, "end": 1}'
    changed = overridden(config, [schedule])
    assert changed.objective.terms[0].schedule == RampSchedule(start=0, end=1)
    term = 'objective.terms.mmd={"kind": "mmd", "weight": 7, "per": "example"}'
    assert overridden(config, [term]).objective.terms[0].weight == 7
    assert overridden(config, ["objective.terms=[]"]).objective.terms == ()


def test_the_last_of_several_wins(config: RunConfig):
    assert overridden(config, ["seed=1", "seed=2"]).seed == 2


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("optimisation.epochs", "--set 'optimisation.epochs': expected path=value"),
        ("optimisation.epoch=3", "--set optimisation.epoch: no 'epoch'; there is: epochs, batch"),
        ("optimiser.epochs=3", "no 'optimiser'; there is: variant, preset, seed, model,"),
        ("objective.terms.kl.weight=3", "no 'kl'; there is: mmd, kl_to_own_mean"),
        ("seed.x=3", "--set seed.x: no 'x'; there is: nothing below this"),
        ("optimisation.epochs=none", "optimisation.epochs: Input should be a valid integer"),
        ("optimisation.epochs=0", "optimisation.epochs: Input should be greater than 0 (got 0)"),
        ("optimisation.decay=slow", "optimisation.decay: Input should be 'cosine', 'expon"),
        ("objective.terms.mmd.weight=-1", "objective.terms.mmd.weight: Input should be greater"),
        ("model.posterior.latent_dim=0", "model.posterior.latent_dim: Input should be greater"),
        ("model.posterior.kind=flow", "model.posterior: Input tag 'flow' found using 'kind' does"),
        ("model.decoder.dropout=1", "model.decoder.dropout: Input should be less than 1 (got 1)"),
        ("optimisation.learning_rate=1e-9", "optimisation: final_learning_rate 1e-05 must not"),
        ("model.context_turns=2", "the config: data.examples.context_turns is 1 and model.conte"),
        ("data.vocabulary_size=4", "data.vocabulary_size: Input should be greater than 4 (got 4)"),
        ("variant=ded", "--set variant: the command decides it"),
        ("preset=paper", "--set preset: --preset decides it"),
        (
            "model.vocab_size=9",
            "--set model.vocab_size: the fitted vocabulary decides it; set data.",
        ),
    ],
)
def test_a_mistake_is_one_line_that_names_path_and_choices(
    config: RunConfig, assignment: str, message: str
):
    with pytest.raises(ConfigError) as caught:
        overridden(config, [assignment])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("first", ["objective.terms.mmd=5", 'objective.terms=[1, {"kind": []}]'])
def test_a_term_that_an_earlier_assignment_spoilt_is_not_there(config: RunConfig, first: str):
    with pytest.raises(ConfigError, match=r"--set objective\.terms\.mmd\.weight: no 'mmd'; there"):
        overridden(config, [first, "objective.terms.mmd.weight=3"])


def test_differences_name_path_and_both_values(config: RunConfig):
    changed = overridden(config, ["seed=3", "objective.terms.mmd.weight=2"])
    assert differences(config, config) == []
    assert differences(config, changed) == ["objective.terms.mmd.weight 10.0 -> 2.0", "seed 0 -> 3"]
    assert "model.posterior.kind gaussian -> dirac" in differences(config, wed_d(SMALL))
