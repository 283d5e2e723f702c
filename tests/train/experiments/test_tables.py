"""The tables as data: what can be chosen, and that nothing in them contradicts the rest."""

import pytest

from dialog_service.errors import ConfigError
from train.experiments.experiment import Experiment
from train.experiments.tables import EXPERIMENTS, experiment_named
from train.metrics.scoring import METRICS
from train.overrides import differences, overridden
from train.presets import SMALL
from train.variants import VARIANTS

GAUSSIAN_SCALE = ("initial_scale", "min_log_scale", "max_log_scale")
each_experiment = pytest.mark.parametrize("experiment", EXPERIMENTS.values(), ids=EXPERIMENTS)


@each_experiment
def test_everything_reported_has_a_column(experiment: Experiment):
    columns = {column.key for column in experiment.sections[0].columns}
    reported = [row.reported for row in experiment.rows]
    assert all(figures.keys() <= columns for figures in (*reported, experiment.reported_test_set))
    assert all(map(bool, reported)) == bool(experiment.source)


@each_experiment
def test_rows_are_told_apart(experiment: Experiment):
    assert len({row.key for row in experiment.rows}) == len(experiment.rows)
    asked = {(row.program, row.flags, row.assignments) for row in experiment.rows}
    assert len(asked) == len(experiment.rows)
    assert all(row.difference.endswith(".") for row in experiment.rows)


def test_each_ablation_takes_away_what_its_whole_has():
    whole, *others = [
        overridden(VARIANTS[row.variant](SMALL), list(row.assignments)).resolved(
            vocab_size=9, mean_target_tokens=1.0, planned_steps=100
        )
        for row in experiment_named("ablation").rows
        if row.variant == "bow_cvae"
    ]
    changed = [{line.split()[0] for line in differences(whole, other)} for other in others]
    assert changed == [
        {"objective.terms.bag_of_words.weight"},
        {"model.bridge.kind"},
        {"data.examples.context_turns", "model.context_turns"},
        {f"model.prior.{name}" for name in ("kind", *GAUSSIAN_SCALE)},
        {"data.examples.keep_repeats"},
        {"model.decoder.tied_output"},
        {"model.encoder.dropout", "model.decoder.dropout", "model.decoder.output_dropout"},
        {"objective.label_smoothing"},
    ]


def test_a_papers_best_figures_are_copied_right():
    rows = {row.key: row.reported for e in EXPERIMENTS.values() for row in e.rows}
    assert max(rows, key=lambda key: rows[key].get("bleu_4", 0)) == "wed_d"
    assert max(rows, key=lambda key: rows[key].get("ppl", 0)) == "coupled_cvae-2"
    coupled = [rows[f"coupled_cvae-{weight}"] for weight in ("0.1", "0.5", "1", "2")]
    for key in ("nll", "ppl", "dist_1", "dist_2"):
        figures = [row[key] for row in coupled]
        assert figures == sorted(figures), "every figure rises with the weight"


@each_experiment
def test_text_columns_are_metrics_of_the_report(experiment: Experiment):
    known = {metric.key for metric in METRICS}
    for section in experiment.sections:
        assert {column.key for column in section.columns if not column.is_health} <= known


def test_rows_are_chosen_in_the_tables_order():
    experiment = experiment_named("dailydialog")
    assert [row.key for row in experiment.chosen(" wed_s,ded ")] == ["ded", "wed_s"]
    assert experiment.chosen(None) == experiment.rows


@pytest.mark.parametrize("keys", ["wae", "ded,wae", "", ","])
def test_a_row_that_is_not_there_names_those_that_are(keys: str):
    with pytest.raises(ConfigError, match="dailydialog has ded, ved, wed_d, wed_s"):
        experiment_named("dailydialog").chosen(keys)


def test_an_unknown_table_names_those_there_are():
    with pytest.raises(
        ConfigError, match="no table of 'snli': there is dailydialog, switchboard, ab"
    ):
        experiment_named("snli")
