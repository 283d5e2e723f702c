"""What a run is: variants as rows, weights converted, impossible configs refused by name."""

from dataclasses import replace

import pytest
from pydantic import ValidationError

from dialog_service.errors import ConfigError
from dialog_service.models.seq2seq import build_model
from train.config import (
    KlToOwnMeanTerm,
    MmdTerm,
    ObjectiveConfig,
    OptimisationConfig,
    RampSchedule,
    RunConfig,
)
from train.overrides import differences, overridden
from train.presets import PAPER, PRESETS, SMALL, preset_named
from train.run_inputs import make_inputs
from train.variants import VARIANTS, bow_cvae, coupled_cvae, cvae, ded, gru, ved, wed_d, wed_s


def weights(config: RunConfig) -> dict[str, float]:
    return {term.kind: term.weight for term in config.objective.terms}


POST_ALONE = ("every_step", False)


def test_each_variant_is_its_row_of_the_table():
    rows = {
        name: (
            config.model.posterior.kind,
            config.model.prior.kind,
            config.model.bridge.kind,
            config.model.posterior_sees_response,
            [term.kind for term in config.objective.terms],
        )
        for name, config in ((name, variant(SMALL)) for name, variant in VARIANTS.items())
    }
    published = {
        "ded": ("dirac", "none", *POST_ALONE, []),
        "ved": ("gaussian", "standard_normal", *POST_ALONE, ["kl"]),
        "wed_d": ("dirac", "standard_normal", *POST_ALONE, ["mmd"]),
        "wed_s": ("gaussian", "standard_normal", *POST_ALONE, ["mmd", "kl_to_own_mean"]),
        "gru": ("none", "none", "first_and_every_step", False, []),
        "cvae": ("gaussian", "conditional_gaussian", "first_and_every_step", True, ["kl"]),
        "coupled_cvae": (
            "gaussian",
            "conditional_gaussian",
            "first_and_every_step",
            True,
            ["kl", "coupling"],
        ),
    }
    assert rows.items() >= published.items()


OWN_OF_THE_PAPERS = ("bow_cvae", "paper")
PAIRS = [
    (name, preset) for name in VARIANTS for preset in PRESETS if (name, preset) != OWN_OF_THE_PAPERS
]


def test_the_papers_preset_has_no_system_of_ours():
    with pytest.raises(ConfigError, match="--preset paper has the papers' systems alone"):
        bow_cvae(PAPER)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_resolved_config_differs_in_what_the_corpus_decides_alone(name: str):
    smoothing = ["objective.label_smoothing=0.1"]
    asked = overridden(VARIANTS[name](SMALL), smoothing)
    resolved = asked.resolved(vocab_size=9, mean_target_tokens=2.0, planned_steps=100)
    changed = {line.split()[0].rpartition(".")[2] for line in differences(asked, resolved)}
    assert changed <= {"vocab_size", "weight", "per"}


@pytest.mark.parametrize(("name", "preset"), PAIRS)
def test_every_variant_of_every_preset_is_valid_and_named(name: str, preset: str):
    config = VARIANTS[name](preset_named(preset))
    assert overridden(config, []) == config  # validated as a whole
    assert (config.variant, config.preset) == (name, preset)
    sizes = preset_named(preset)
    expected = {
        sizes.wasserstein.latent_dim,
        0 if name == "gru" else sizes.conditional.latent_dim,
        sizes.contextual.latent_dim if sizes.contextual else None,
    }
    assert config.model.latent_dim in expected
    if preset == "best":
        parameters = build_model(config.model).parameters()
        assert 10e6 < sum(parameter.numel() for parameter in parameters) <= 50e6


def test_weights_of_the_w_family_are_multiplied_by_the_mean_target_length():
    asked = wed_s(SMALL)
    assert weights(asked) == {"mmd": 10.0, "kl_to_own_mean": 0.01}
    resolved = asked.resolved(vocab_size=777, mean_target_tokens=13.2, planned_steps=100)
    assert weights(resolved) == pytest.approx({"mmd": 132.0, "kl_to_own_mean": 0.132})
    assert {term.per for term in resolved.objective.terms} == {"example"}
    assert resolved.model.vocab_size == 777
    assert [term.schedule for term in resolved.objective.terms] == [
        RampSchedule(start=0.2, end=0.4),
        RampSchedule(start=0.5, end=0.8),
    ]


def test_the_mean_target_length_is_that_of_the_training_split(toy_examples, make_tiny):
    inputs = make_tiny()
    lengths = inputs.train.response_lengths.tolist()
    assert len(lengths) == len(toy_examples.train)
    assert weights(inputs.config)["mmd"] == pytest.approx(10 * sum(lengths) / len(lengths))


def test_a_weight_per_example_is_not_converted():
    term = MmdTerm(weight=3.0, per="example")
    config = wed_d(SMALL).model_copy(update={"objective": ObjectiveConfig(terms=(term,))})
    assert weights(config.resolved(vocab_size=9, mean_target_tokens=13.2, planned_steps=100)) == {
        "mmd": 3.0
    }


def test_ved_withholds_words_and_stops_where_the_paper_s_code_did():
    objective = ved(PAPER).resolved(vocab_size=9, mean_target_tokens=13.0, planned_steps=118_800)
    (term,) = objective.objective.terms
    assert term.weight == 13.0  # one beside a token mean
    assert term.schedule.stop == pytest.approx(2300 / 118_800)
    assert objective.objective.word_dropout.rate == 0.5
    assert objective.objective.word_dropout.schedule.end == pytest.approx(0.0525)


def test_the_paper_preset_of_cvae_is_the_paper_s_system():
    config = coupled_cvae(PAPER)
    model, optimisation = config.model, config.optimisation
    assert (model.encoder.hidden_size, model.decoder.hidden_size) == (128, 256)
    assert (model.latent_dim, model.embedding_dim) == (32, 200)
    assert (optimisation.batch_size, optimisation.clip_norm) == (32, 30.0)
    kl, coupling = config.objective.terms
    assert (kl.schedule.start, kl.schedule.end, kl.schedule.unit) == (2000, 42_000, "step")
    assert (coupling.reconstruction_weight, coupling.match_weight) == (1.0, 2.0)


def test_the_paper_preset_is_the_papers_system():
    config = wed_s(PAPER)
    model, optimisation = config.model, config.optimisation
    assert (model.encoder.hidden_size, model.decoder.hidden_size) == (500, 500)
    assert (model.latent_dim, model.embedding_dim) == (300, 300)
    assert (config.data.vocabulary_mode, config.data.vocabulary_size) == ("word", 20_000)
    assert (model.max_context_tokens, model.max_response_tokens) == (20, 20)
    assert (optimisation.epochs, optimisation.batch_size) == (200, 128)
    assert config.objective.terms[0].base_per_dimension == 4.0
    assert wed_s(SMALL).objective.terms[0].base_per_dimension == 2.0


def test_an_unknown_preset_names_those_there_are():
    with pytest.raises(
        ConfigError, match="--preset 'huge': allowed are small, medium, best, paper"
    ):
        preset_named("huge")


def refused(changes: dict[str, object], config: RunConfig | None = None) -> str:
    tree = (config or wed_s(SMALL)).model_dump()
    for path, value in changes.items():
        *parents, last = path.split(".")
        node = tree
        for parent in parents:
            node = node[parent]
        node[last] = value
    with pytest.raises(ValidationError) as caught:
        RunConfig.model_validate(tree)
    return str(caught.value)


def test_impossible_pairs_name_both():
    no_prior = refused({"model.prior": {"kind": "none"}}, wed_d(SMALL))
    assert "'mmd' needs a prior" in no_prior
    assert "model.prior.kind is 'none'" in no_prior
    point = refused({"model.posterior": {"kind": "dirac", "latent_dim": 4}})
    assert "'kl_to_own_mean' needs a scale" in point
    assert "'dirac'" in point


def test_a_learnt_prior_is_taught_and_of_use():
    untaught = refused({"objective.terms": []}, cvae(SMALL))
    assert "'conditional_gaussian' needs the term 'kl'" in untaught
    same = refused({"model.prior": {"kind": "conditional_gaussian"}})
    assert "'conditional_gaussian' with a posterior that sees the context alone" in same


def test_a_schedule_that_would_not_end_is_refused(make_tiny):
    late = 'objective.terms.kl.schedule={"kind":"ramp","unit":"step","start":5,"end":%d}'
    assert make_tiny(late % 33, variant="cvae").config.objective.terms[0].schedule.end == 1.0
    with pytest.raises(ConfigError, match=r"kl\.schedule ends at step 34, the run at step 33: set"):
        make_tiny(late % 34, variant="cvae")


def test_turns_of_the_data_are_the_turns_the_model_sees():
    message = refused({"data.examples.context_turns": 3})
    assert "data.examples.context_turns is 3 and model.context_turns is 1" in message


def test_a_bag_of_words_needs_a_z_but_no_scale():
    assert "needs a z" in refused({"objective.terms": [{"kind": "bag_of_words"}]}, gru(SMALL))
    point = ded(SMALL).model_dump() | {"objective": {"terms": [{"kind": "bag_of_words"}]}}
    assert RunConfig.model_validate(point).objective.terms[0].weight == 1.0


def test_a_term_may_occur_once():
    term = KlToOwnMeanTerm(weight=1.0, per="example")
    with pytest.raises(ValidationError, match="occurs twice"):
        ObjectiveConfig(terms=(term, term))


def test_a_ramp_ends_after_its_start():
    with pytest.raises(ValidationError, match=r"end 0\.4 must be above start 0\.5"):
        RampSchedule(start=0.5, end=0.4)


@pytest.mark.parametrize(
    "values",
    [
        {"learning_rate": 1e-6},
        {"warmup": 1.0},
        {"batch_size": 1},
        {"epochs": 0},
        {"checkpoint_seconds": 0},
        {"decay": "linear"},
        {"momentum": 0.9},
    ],
    ids=lambda values: next(iter(values)),
)
def test_optimisation_out_of_range_is_refused(values: dict[str, object]):
    OptimisationConfig(epochs=1, batch_size=8)
    with pytest.raises(ValidationError, match=next(iter(values))):
        OptimisationConfig.model_validate({"epochs": 1, "batch_size": 8, **values})


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_fits_into_every_generator(seed: int):
    assert "seed" in refused({"seed": seed})


def test_a_batch_larger_than_the_corpus_is_refused(make_tiny):
    with pytest.raises(ConfigError, match=r"optimisation\.batch_size: 752 .* 751 training pairs"):
        make_tiny("optimisation.batch_size=752")


def test_a_vocabulary_smaller_than_the_alphabet_is_refused(make_tiny):
    with pytest.raises(
        ConfigError, match=r"^data\.vocabulary_size=20: Vocabulary size is"
    ) as caught:
        make_tiny("data.vocabulary_size=20")
    assert "\n" not in str(caught.value)


def test_too_few_validation_pairs_are_refused(toy_examples):
    lonely = replace(toy_examples, validation=toy_examples.validation[:1])
    with pytest.raises(Exception, match="1 validation pairs are left") as caught:
        make_inputs(ded(SMALL), lonely)
    assert type(caught.value).__name__ == "CorpusError"


def test_the_checkpoint_says_where_it_comes_from(toy_examples, make_tiny):
    inputs = make_tiny("seed=4")
    meta = inputs.meta
    assert RunConfig.model_validate(meta.run) == inputs.config
    assert (meta.variant, meta.preset, meta.corpus, meta.seed) == (
        "wed_s",
        "small",
        "dailydialog",
        4,
    )
    assert meta.data_fingerprint == toy_examples.fingerprint
    assert meta.commit
