"""What is run for a row, from each place where it may stand."""

import json
import shutil
from dataclasses import replace

import pytest

from dialog_service.errors import ConfigError
from train.data.examples import ExampleOptions
from train.data.pairs import PairMode
from train.experiments.ablation import ABLATION
from train.experiments.budget import Budget
from train.experiments.children import CommandFailed
from train.experiments.request import Run
from train.experiments.row_folder import RowRecord
from train.experiments.row_job import is_finished, run_row

from .conftest import ScriptedChildren, leave_evaluations, leave_training, report


def test_a_row_is_trained_then_evaluated_on_every_split(ded, children, make_tools):
    assert not is_finished(ded)
    run_row(ded, make_tools(children))
    assert children.asked("-m") == ["train.ded", "train.evaluate", "train.evaluate"]
    assert children.asked("--split") == ["", "published", "strict"]
    assert children.commands[1][3] == str(ded.folder.best)
    assert ["--no-health" in command for command in children.commands] == [False, False, True]
    assert is_finished(ded)
    record = ded.folder.record()
    assert record.arguments == ded.asked
    assert record.epochs is None
    (machine,) = record.machines
    assert machine.gpu is None
    assert machine.cores >= 1


def test_the_training_command_says_all_that_was_asked(make_request):
    (run,) = make_request("wed_s", seeds=(7,), assignments=("data.vocabulary_size=90",),
                          pair_mode=PairMode.SEGMENTS).runs()  # fmt: skip
    told = " ".join(run.training(run.folder.path))
    for words in (
        "-m train.wed --stochastic --corpus dailydialog --preset small --seed 7",
        "--set data.examples.pair_mode=segments --set data.vocabulary_size=90",
        "--device cpu --precision fp32",
        "--output",
    ):
        assert words in told
    assert "--pair-mode segments" in " ".join(run.evaluation(run.request.experiment.sections[0]))


def test_a_finished_row_runs_nothing(ded, children, make_tools):
    leave_training(ded.folder)
    leave_evaluations(ded, report())
    run_row(ded, make_tools(children))
    assert children.commands == []


def test_an_interrupted_training_is_resumed_with_its_own_epochs(ded, children, make_tools):
    leave_training(ded.folder, is_finished=False)
    ded.folder.keep_record(RowRecord(arguments=ded.asked, epochs=3, machines=()))
    run_row(ded, make_tools(children))
    training = children.commands[0]
    assert "--resume" in training
    assert "optimisation.epochs=3" in training
    assert len(ded.folder.record().machines) == 1


def test_a_start_that_left_nothing_to_resume_is_begun_again(ded, children, make_tools):
    ded.folder.path.mkdir(parents=True)
    ded.folder.config.write_text("{}")
    run_row(ded, make_tools(children))
    assert "--resume" not in children.commands[0]
    assert not ded.folder.config.exists()


def test_a_checkpoint_without_a_state_is_no_false_start(ded):
    leave_training(ded.folder)
    shutil.rmtree(ded.folder.training)
    ded.folder.config.write_text("{}")
    ded.folder.forget_false_start()
    assert ded.folder.config.exists()


def test_an_evaluation_of_another_checkpoint_or_other_words_does_not_count(
    make_request, children, make_tools
):
    (run,) = make_request("ded").runs()
    leave_training(run.folder)
    leave_evaluations(run, report())
    assert is_finished(run)
    (other,) = make_request("ded", evaluation_flags=("--no-bm25",)).runs()
    assert not is_finished(other)
    (run.folder.best / "weights.safetensors").write_bytes(b"others")
    assert not is_finished(run)
    (run.folder.evaluation("strict") / "done.json").write_text("{")
    assert not is_finished(run)


def test_a_failed_training_is_not_evaluated(ded, make_tools):
    children = ScriptedChildren(failing="train.ded")
    with pytest.raises(CommandFailed, match=r"error: no train.ded"):
        run_row(ded, make_tools(children))
    assert len(children.commands) == 1


def test_a_budget_plans_epochs_from_the_measured_speed(ded, children, make_tools):
    # 10 steps a second; 640 pairs are 5 steps of 128: .55 s an epoch. Half of 8 s is for the
    # evaluation, 4 s are 7 epochs of the preset's 8.
    tools = make_tools(
        children,
        budget=Budget(8, rows=1, jobs=1),
        training_pairs={ExampleOptions(): 640},
        clock=lambda: 0.0,
    )
    run_row(ded, tools)
    measuring, training = children.commands[:2]
    assert "/.speed/" in measuring[-1]
    assert "optimisation.epochs=7" in training
    assert ded.folder.record().epochs == 7


def test_a_budget_that_suffices_changes_nothing(ded, children, make_tools):
    tools = make_tools(
        children, budget=Budget(500, rows=1, jobs=1), training_pairs={ExampleOptions(): 640}
    )
    run_row(ded, tools)
    assert ded.folder.record().epochs is None
    assert not any("optimisation.epochs" in word for word in children.commands[1])


def test_a_folder_begun_with_other_values_is_refused(make_request, ded, children, make_tools):
    run_row(ded, make_tools(children))
    ded.refuse_other_values()
    (other,) = make_request("ded", preset="medium").runs()
    with pytest.raises(ConfigError, match=r"was begun as .*--preset small.*name another folder"):
        other.refuse_other_values()


def test_a_folder_begun_with_other_defaults_is_refused(ded, children, make_tools):
    run_row(ded, make_tools(children))
    record = ded.folder.record()
    ded.folder.keep_record(record.model_copy(update={"config": "0123456789abcdef"}))
    with pytest.raises(ConfigError, match=r"ded-seed0 was begun by a version with other defaults"):
        ded.refuse_other_values()
    ded.folder.keep_record(record.model_copy(update={"config": ""}))
    ded.refuse_other_values()


def test_rows_of_other_assignments_train_at_another_speed(make_request):
    whole, untied = make_request("bow_cvae,without-tied_output", experiment=ABLATION).runs()
    (later,) = make_request("bow_cvae", experiment=ABLATION, seeds=(5,)).runs()
    assert whole.kind == later.kind != untied.kind


def test_an_evaluation_under_way_is_none_that_is_done(ded, make_tools):
    run_row(ded, make_tools(ScriptedChildren()))
    asked = ded.evaluation_asked(ded.request.experiment.sections[0])
    assert ded.folder.is_evaluated("published", asked)
    changed = Run(replace(ded.request, evaluation_flags=("--no-bm25",)), ded.row, ded.seed)
    with pytest.raises(CommandFailed):
        run_row(changed, make_tools(ScriptedChildren(failing="--no-bm25")))
    assert not ded.folder.is_evaluated("published", asked)


def test_a_setting_that_does_not_fit_a_row_names_it(make_request):
    (run,) = make_request("ded", assignments=("optimisation.epoch=3",)).runs()
    with pytest.raises(ConfigError, match=r"row ded: --set optimisation\.epoch: no 'epoch'"):
        run.config()


def test_epochs_are_read_from_a_log_that_may_be_cut_short(ded):
    ded.folder.path.mkdir(parents=True)
    lines = [json.dumps({"kind": kind, "epoch": 1}) for kind in ("train", "validation")]
    ded.folder.log.write_text("\n".join([*lines, '{"kind": "valid', "[]"]))
    assert ded.folder.epochs_logged() == [{"kind": "validation", "epoch": 1}]
