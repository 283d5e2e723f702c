"""From the folders of finished rows to the table, its Markdown, and what is kept of it."""

import json
from pathlib import Path

import pytest

from dialog_service.errors import CheckpointError
from train.experiments.ablation import ABLATION
from train.experiments.collection import collect, write_table
from train.experiments.findings import read_training
from train.experiments.markdown import markdown
from train.experiments.result import make_table, over_seeds
from train.experiments.tables import SWITCHBOARD
from train.metrics.intervals import Estimate

from .conftest import MakeRequest, leave_all, report

NULLS = (
    ("human", "human", {"dist_1": 0.08}),
    ("echo of the post", "null", {"bleu_2": 6.63, "dist_1": 0.082}),
)


def wed_s(bleu: float) -> dict:
    return report(
        ("wed_s", "system", {"bleu_2": bleu, "bleu_4": 1.0, "dist_1": 0.05, "unknown": 3.0}),
        ("wed_s, z drawn, greedy tokens", "system", {"bleu_2": bleu + 1, "unique_replies": 8.5}),
        ("wed_s, z = mean, greedy tokens", "system", {"bleu_2": bleu + 2}),
        *NULLS,
        health={"nll": 54.9, "kl": 3.0},
    )


def table_lines(text: str) -> list[list[str]]:
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("|") and "---" not in line
    ]


@pytest.fixture
def table_of_two(make_request: MakeRequest):
    request = make_request("ded,wed_s", seeds=(0, 1))
    runs = {run.name: run for run in request.runs()}
    leave_all(runs["wed_s-seed0"], wed_s(4.0))
    leave_all(runs["wed_s-seed1"], wed_s(5.0), epochs=3, planned=3)
    leave_all(
        runs["ded-seed0"],
        report(("ded", "system", {"bleu_2": 4.5}), ("ded, greedy", "system", {"bleu_2": 4.6})),
        epochs=5,
    )
    finished = [run for run in request.runs() if run.name != "ded-seed1"]
    return request, finished


def test_every_row_stands_above_the_papers(table_of_two):
    request, finished = table_of_two
    text = markdown(make_table(request, finished), request.experiment)
    lines = table_lines(text.split("## strict")[0])
    assert lines[0] == ["", "", "BLEU-2", "BLEU-4", "entropy", "Dist-1", "Dist-2",
                        "unique of 10", "NLL"]  # fmt: skip
    assert [line[:2] for line in lines[1:]] == [
        ["**DED**", "own sampling"],
        ["**DED**", "z not drawn, greedy tokens"],
        ["*DED*", "*reported, 200 epochs*"],
        ["**WED-S**", "own sampling"],
        ["**WED-S**", "z drawn, greedy tokens"],
        ["**WED-S**", "z not drawn, greedy tokens"],
        ["*WED-S*", "*reported, 200 epochs*"],
        ["human", ""],
        ["echo of the post", ""],
        ["*test set*", "*reported*"],
    ]
    assert lines[1][2:] == ["4.50 ±1.00", "-", "-", "-", "-", "-", "-"]
    assert lines[5][2:] == ["5.50 ±6.35", "-", "-", "-", "-", "8.5 ±0.0", "-"]
    assert lines[4][-1] == "54.9 ±0.0"
    assert lines[7][2:] == ["*3.72*", "*0.69*", "*5.59*", "*0.066*", "*0.309*", "-", "-"]
    assert lines[9][2:4] == ["6.63 ±1.00", "-"]


def test_the_papers_figures_stand_where_the_paper_measured(table_of_two):
    request, finished = table_of_two
    strict = markdown(make_table(request, finished), request.experiment).split("## strict")[1]
    assert "4.50 ±1.00" in strict
    assert "reported" not in strict.split("## How")[0]


def test_a_row_trained_for_less_says_so(table_of_two):
    request, finished = table_of_two
    table = make_table(request, finished)
    told = {(t.row, t.seed): t.epochs_told for t in table.trainings}
    assert told == {
        ("ded", 0): "5, stopped early of 8",
        ("wed_s", 0): "8",
        ("wed_s", 1): "3 of preset small's 8",
    }
    assert table.unfinished == ("ded-seed1",)
    text = markdown(table, request.experiment)
    assert "- ded-seed1" in text
    assert "epochs: 3 of preset small's 8, 8. Both penalties" in text


def test_how_a_row_was_trained_comes_from_its_files(table_of_two):
    run = table_of_two[1][-1]
    training = read_training(run)
    assert training.pairs_per_second == 640  # 10 steps of 64 pairs and a second an epoch
    assert training.minutes == 3 / 60
    assert training.evaluation_minutes == 1
    assert (training.best_epoch, training.commit) == (3, "abc123")
    assert training.config == "wed_s-seed1/resolved.json"


def test_each_row_is_compared_in_a_sentence(table_of_two):
    sentences = make_table(*table_of_two).sentences
    assert sentences[0].startswith(
        "DED: z not drawn, greedy tokens, ours (reported): BLEU-2 4.60 (3.96); epochs: 5"
    )
    assert sentences[1].startswith(
        "WED-S: z drawn, greedy tokens, ours (reported): BLEU-2 5.50 (3.72), "
    )


def test_null_rows_on_a_subset_are_left_out(make_request: MakeRequest):
    (run,) = make_request("ded").runs()
    content = report(("ded", "system", {"bleu_2": 4.5}), *NULLS, ("human, long", "human", {}))
    content["rows"][-1]["signature"] = {"split": "test/published, long"}
    leave_all(run, content)
    titles = [line.title for line in make_table(run.request, [run]).splits[0].lines]
    assert titles == ["DED", "DED", "human", "echo of the post", "test set"]


def test_over_seeds_is_students_interval():
    # 1, 2, 3: deviation 1, t = 4.303 for two degrees of freedom.
    found = over_seeds([Estimate(value) for value in (1.0, 2.0, 3.0)])
    assert found.value == 2
    assert found.high - found.value == pytest.approx(4.303 / 3**0.5)
    assert found.value - found.low == pytest.approx(4.303 / 3**0.5)
    one = Estimate(1.0, 0.5, 1.5)
    assert over_seeds([one]) is one
    assert over_seeds([Estimate(5.0)] * 40) == Estimate(5.0, 5.0, 5.0)


def test_percent_columns_and_health(make_request: MakeRequest):
    request = make_request("gru", experiment=SWITCHBOARD)
    (run,) = request.runs()
    figures = {"dist_1": 0.0033, "dist_2": 0.008}
    leave_all(run, report(("gru", "system", figures), health={"nll": 53.0, "ppl": 40.0}))
    run.folder.path.joinpath("resolved.json").write_text(
        run.folder.path.joinpath("resolved.json").read_text().replace('"gru"', '"ded"')
    )
    first, paper = table_lines(markdown(make_table(request, [run]), request.experiment))[1:3]
    assert first == ["**GRU encoder-decoder**", "own sampling", "53.0 ±1.0", "40.0 ±1.0",
                     "0.33 ±100.00", "0.80 ±100.00"]  # fmt: skip
    assert paper[2:] == ["*53.9*", "*41.6*", "*0.33*", "*0.80*"]


def test_a_missing_file_is_one_line(table_of_two):
    request, finished = table_of_two
    (finished[0].folder.best / "meta.json").unlink()
    with pytest.raises(CheckpointError, match=r"ded-seed0/best/meta\.json"):
        make_table(request, finished)


def test_only_small_files_are_collected(table_of_two, tmp_path: Path):
    request, finished = table_of_two
    folder = collect(request, finished, tmp_path / "results")
    assert folder == tmp_path / "results" / "dailydialog"
    kept = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert {"table.md", "table.json", "ded-seed0/resolved.json", "ded-seed0/best/meta.json",
            "wed_s-seed1/published/report.json", "ded-seed0/row.json"} <= kept  # fmt: skip
    assert not any("weights" in name or "state" in name for name in kept)
    assert json.loads((folder / "table.json").read_text())["unfinished"] == ["ded-seed1"]


def test_what_is_kept_names_no_folder_of_this_machine(table_of_two, tmp_path: Path):
    request, finished = table_of_two
    place = finished[0].folder.path / "published" / "report.json"
    said = (
        f"--data-dir {request.place.data_dir} --output {request.place.output}/ded-seed0/published"
    )
    place.write_text(json.dumps({**json.loads(place.read_text()), "command": said}))
    folder = collect(request, finished, tmp_path / "results")
    kept = json.loads((folder / finished[0].name / "published" / "report.json").read_text())
    assert kept["command"] == "--data-dir CORPORA --output RUNS/ded-seed0/published"


def test_the_table_is_written_whole(table_of_two, tmp_path: Path):
    request, finished = table_of_two
    write_table(request, finished, tmp_path / "t")
    assert sorted(path.name for path in (tmp_path / "t").iterdir()) == ["table.json", "table.md"]


def test_a_table_of_our_own_speaks_of_no_paper(make_request: MakeRequest):
    request = make_request("bow_cvae", experiment=ABLATION)
    (run,) = request.runs()
    leave_all(run, report(("bow_cvae", "system", {"bleu_2": 4.0}), *NULLS), epochs=2, planned=2)
    text = markdown(make_table(request, [run]), request.experiment)
    assert text.startswith("# ablation on dailydialog, preset small, pairs: adjacent\n\nOne seed;")
    assert "| **bow_cvae, all of it** | own sampling | 4.00 ±1.00 |" in text
    assert "- bow_cvae, all of it: epochs: 2 of preset small's 8." in text
    assert "paper" not in text
    assert "reported" not in text
