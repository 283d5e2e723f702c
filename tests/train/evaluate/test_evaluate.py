"""The whole job through its command line, on the toy corpus."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from dialog_service.diversity import metric_tokens
from dialog_service.generation import GenerationRequest, Generator
from dialog_service.serving.live_diversity import LiveDiversity, Source
from train.data.corpora import CorpusSource
from train.data.pairs import PairMode
from train.evaluate.cases import EvaluationSplit
from train.evaluate.cli import app
from train.evaluate.options import CheckpointSubject
from train.evaluate.origin import LoadedSubject
from train.overrides import overridden
from train.presets import SMALL
from train.run_folder import RunFolder
from train.variants import VARIANTS

TOY = str(Path(__file__).parents[2] / "data" / "toy")
LINE = '{"context": ["how are you ?"], "responses": ["fine ."], "replies": ["i am fine .", "ok"]}'


class Silent:
    def on_error(self, op: str) -> None:
        pytest.fail(op)


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def evaluated(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("evaluation") / "new" / "folder"
    done = run(tiny_checkpoint, "--corpus", "dailydialog", "--data-dir", TOY, "--replies", 3,
               "--device", "cpu", "--output", output)  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "BM25 over training posts" in done.output
    return output


def rows(output: Path) -> dict[str, dict]:
    report = json.loads((output / "report.json").read_text())
    return {row["name"]: row for row in report["rows"]}


def test_a_checkpoint_is_shown_beside_every_null_row(evaluated: Path):
    assert list(rows(evaluated)) == [
        "wed_s",
        "wed_s, z drawn, greedy tokens",
        "wed_s, z = mean, greedy tokens",
        "human",
        "echo of the post",
        "random training replies",
        "BM25 over training posts",
    ]
    table = (evaluated / "table.md").read_text()
    assert all(name in table for name in rows(evaluated))
    assert "self-BLEU-4" in table
    assert list(evaluated.glob("*.partial")) == []


def test_every_row_is_judged_and_has_what_its_replies_allow(evaluated: Path):
    figures = {name: row["figures"].keys() for name, row in rows(evaluated).items()}
    assert all({"relevance", "relevance_rank", "uni_kl"} <= keys for keys in figures.values())
    assert {n for n, keys in figures.items() if "bleu_2" not in keys} == {"human"}
    assert {n for n, keys in figures.items() if "unique_replies" in keys} == {
        "wed_s, z drawn, greedy tokens"
    }


def test_the_report_holds_all_that_is_known_of_a_checkpoint(evaluated: Path):
    report = json.loads((evaluated / "report.json").read_text())
    assert report["health"]["figures"]["nll"]["value"] > 0
    assert {sample["response"] for sample in report["probes"]["samples"]}
    assert "relevance: " in " ".join(report["notes"])
    assert "z = mean, greedy tokens" in (evaluated / "report.html").read_text()


def test_every_row_has_its_signature(evaluated: Path):
    signatures = [row["signature"] for row in rows(evaluated).values()]
    assert {s["contexts"] for s in signatures} == {44}
    assert {s["split"] for s in signatures} == {"test/deduplicated"}
    assert len({s["decoding"] for s in signatures}) == len(signatures)
    assert signatures[0]["replies_per_context"] == 3
    assert signatures[1]["decoding"].endswith("raw draws,ten on 1 context of 1")


def test_the_written_replies_score_the_same(evaluated: Path, tmp_path: Path):
    done = run("--replies-file", evaluated / "replies.jsonl", "--output", tmp_path,
               "--corpus", "dailydialog", "--data-dir", TOY)  # fmt: skip
    assert done.exit_code == 0, done.output
    assert rows(tmp_path)["replies.jsonl"]["figures"] == rows(evaluated)["wed_s"]["figures"]
    assert rows(tmp_path)["human"]["figures"] == rows(evaluated)["human"]["figures"]
    compared = run("compare", evaluated, tmp_path, "--output", tmp_path / "compared")
    assert compared.exit_code == 0, compared.output
    found = json.loads((tmp_path / "compared" / "compare.json").read_text())
    assert (found["not_compared"], found["notes"]) == ([], [])
    assert found["differences"].keys() == rows(evaluated)["wed_s"]["figures"].keys()
    assert {each["p"] for each in found["differences"].values()} == {1.0}


def test_without_a_corpus_a_file_has_fewer_null_rows(tmp_path: Path):
    path = tmp_path / "mine.jsonl"
    path.write_text(LINE)
    done = run("--replies-file", path, "--output", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert list(rows(tmp_path / "out")) == ["mine.jsonl", "human", "echo of the post"]
    assert "random and BM25 rows, UniKL, LM nats and relevance need --corpus" in done.output


async def test_dist_is_that_of_the_live_figures(evaluated: Path):
    live = LiveDiversity(None, window_tokens=10**6, observer=Silent())
    lines = (evaluated / "replies.jsonl").read_text().splitlines()
    for line in lines:
        live.record("m", Source.FRESH, [metric_tokens(json.loads(line)["replies"][0])])
    served = {f"dist_{figure.n}": figure.distinct_ratio for figure in live.snapshot()}
    await live.close()
    figures = rows(evaluated)["wed_s"]["figures"]
    assert served == {key: figures[key]["value"] for key in ("dist_1", "dist_2")}


def test_a_corpus_lends_its_training_pairs_to_a_file(tmp_path: Path):
    path = tmp_path / "mine.jsonl"
    path.write_text(f"{LINE}\nnonsense\n{LINE}\n")
    done = run("--replies-file", path, "--corpus", "dailydialog", "--data-dir", TOY, "--no-bm25",
               "--output", tmp_path / "out")  # fmt: skip
    assert done.exit_code == 0, done.output
    names = ["mine.jsonl", "human", "echo of the post", "random training replies"]
    assert list(rows(tmp_path / "out")) == names
    assert f"{path}:2: not scored: Invalid JSON" in done.output
    assert "2 lines scored, 1 left out: line 2: Invalid JSON" in done.output
    assert "2 lines scored, 1 left out: line 2" in (tmp_path / "out" / "table.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "either a checkpoint directory or --replies-file"),
        (["absent", "--data-dir", TOY], "absent: no such checkpoint directory"),
        (["--replies-file", "absent.jsonl"], "absent.jsonl: No such file"),
        (["--replies-file", "x", "--top-k", "3"], "are for a checkpoint"),
        (["--replies-file", "x", "--candidates", "8"], "are for a checkpoint"),
        (["--replies-file", "x", "--relevance-weight", "1"], "are for a checkpoint"),
        (["CHECKPOINT", "--data-dir", TOY, "--candidates", "0"], "--candidates 0: must be 1 to"),
        (["CHECKPOINT", "--data-dir", TOY, "--candidates", "101"], "--candidates 101: must be"),
        (
            ["CHECKPOINT", "--data-dir", TOY, "--replies", "3", "--candidates", "2"],
            "--candidates 2: must be 1 to 100 and at least --replies",
        ),
        (
            ["CHECKPOINT", "--data-dir", TOY, "--relevance-weight", "nan"],
            "--relevance-weight nan: must be 0 to 1",
        ),
        (["CHECKPOINT", "--data-dir", TOY, "--relevance-weight", "1.5"], "--relevance-weight 1.5"),
        (["CHECKPOINT", "--corpus", "nonsense", "--data-dir", TOY], "unknown corpus 'nonsense'"),
        (["CHECKPOINT", "--data-dir", TOY, "--temperature", "nan"], "--temperature nan"),
        (["CHECKPOINT", "--data-dir", "absent"], "absent: no such file or folder"),
        (["CHECKPOINT", "--data-dir", TOY, "--pair-mode", "turns"], "--pair-mode is for"),
        (["--replies-file", "x", "--part", "validation"], "are for a checkpoint"),
        (["compare", "absent", "file"], "absent"),
        (["CHECKPOINT", "--data-dir", TOY, "--output", "file"], "--output file"),
    ],
)
def test_a_mistake_is_one_line_and_code_2(
    tiny_checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    problem: str,
):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    done = run(*(tiny_checkpoint if a == "CHECKPOINT" else a for a in arguments))
    assert done.exit_code == 2
    [line] = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert problem in line
    assert not any(Path().glob("runs/*"))  # no empty folder is left behind


QUICK = ("--data-dir", TOY, "--device", "cpu", "--no-bm25", "--no-relevance", "--no-health",
         "--no-probes")  # fmt: skip


def test_the_dear_parts_may_be_left_out(tiny_checkpoint: Path, tmp_path: Path):
    done = run(tiny_checkpoint, *QUICK, "--part", "validation", "--output", tmp_path)
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["health"], report["probes"]) == (None, None)
    assert "BM25 over training posts" not in rows(tmp_path)
    assert not any("relevance" in row["figures"] for row in report["rows"])
    assert {row["signature"]["split"] for row in report["rows"]} == {"validation/deduplicated"}


def decodings(output: Path) -> dict[str, str]:
    return {name: row["signature"]["decoding"] for name, row in rows(output).items()}


def test_selection_is_shown_where_it_is_asked_for(tiny_checkpoint: Path, tmp_path: Path):
    asked = ("--replies", 2, "--candidates", 6, "--relevance-weight", 0.75)
    done = run(tiny_checkpoint, *QUICK, *asked, "--output", tmp_path)
    assert done.exit_code == 0, done.output
    said = decodings(tmp_path)
    assert list(said)[:2] == ["wed_s", "wed_s, selected"]
    assert said["wed_s, selected"] == f"{said['wed_s']},mmr 0.75 of 6 by likelihood"
    own, selected = (rows(tmp_path)[name]["figures"] for name in list(said)[:2])
    assert own["dist_2"] != selected["dist_2"]


def test_a_checkpoint_with_a_matcher_selects_and_is_tried_by_weight(
    tiny_checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    matched: Callable[[Generator], Any],
):
    load = Generator.load
    monkeypatch.setattr(Generator, "load", lambda path, **given: matched(load(path, **given)))
    quick = [flag for flag in QUICK if flag != "--no-probes"]
    done = run(tiny_checkpoint, *quick, "--output", tmp_path)
    assert done.exit_code == 0, done.output
    assert decodings(tmp_path)["wed_s, selected"].endswith(
        "different replies,mmr 0.5 of 32 by matcher"
    )
    frontier = json.loads((tmp_path / "report.json").read_text())["probes"]["frontier"]
    weights = [point["value"] for point in frontier if point["axis"] == "relevance_weight"]
    assert weights == [0, 0.25, 0.5, 0.75, 1]
    assert "relevance-weight" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_evaluation_goes_on_and_finds_the_same(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
):
    asked = [tiny_checkpoint, *QUICK, "--batch-size", 8, "--output"]
    assert run(*asked, tmp_path / "whole").exit_code == 0
    generate, calls = Generator.generate, []

    def generate_or_be_stopped(self: Generator, requests: Sequence[GenerationRequest]):
        calls.append(len(requests))
        if len(calls) == 8:  # three decodings: the second of the third batch
            os.kill(os.getpid(), number)
        return generate(self, requests)

    monkeypatch.setattr(Generator, "generate", generate_or_be_stopped)
    stopped = run(*asked, tmp_path / "stopped")
    assert stopped.exit_code == 128 + number
    assert stopped.stderr.splitlines()[-1] == (
        f"stopped by {number.name}; to go on, repeat the command with "
        f"--output {tmp_path / 'stopped'}"
    )
    assert not (tmp_path / "stopped" / "report.json").exists()
    calls[:] = [0] * 8
    done = run(*asked, tmp_path / "stopped")
    assert "16 of 44 contexts were answered before" in done.stderr
    assert len(calls) == 8 + 3 * 4  # of six batches the last four
    assert list((tmp_path / "stopped").glob("*.partial")) == []
    for name in ("report.json", "replies.jsonl", "measures.jsonl", "table.md"):
        whole, resumed = ((tmp_path / each / name).read_text() for each in ("whole", "stopped"))
        assert resumed == whole


def test_two_evaluations_are_compared(evaluated: Path, tmp_path: Path):
    done = run("compare", evaluated, evaluated, "--output", tmp_path)
    assert done.exit_code == 0, done.output
    assert "BLEU-2" in done.output
    assert (tmp_path / "compare.json").is_file()


def test_help_is_that_of_an_evaluation():
    done = run("--help")
    assert done.exit_code == 0
    assert "--replies-file" in done.output
    assert "compare results/a results/b" in done.output
    assert "measures.jsonl" in done.output
    assert "128 + the signal" in done.output


SWITCHBOARD = ("--corpus", "switchboard", *QUICK)


@pytest.mark.parametrize(
    ("flags", "mode"), [((), "turns"), (("--pair-mode", "segments"), "segments")]
)
def test_switchboard_is_reported_in_parts(
    tiny_checkpoint: Path, tmp_path: Path, flags: tuple[str, ...], mode: str
):
    done = run(tiny_checkpoint, *SWITCHBOARD, *flags, "--split", "full", "--output", tmp_path)
    assert done.exit_code == 0, done.output
    found = rows(tmp_path)
    splits = {name: row["signature"]["split"] for name, row in found.items()}
    assert splits["human"] == f"test/full, pairs of {mode}"
    content, short = (found[f"human, {each}"] for each in ("content replies", "back-channels"))
    assert content["signature"]["split"].endswith("responses of more than 2 words")
    assert short["figures"]["avg_len"]["value"] < 4 < content["figures"]["avg_len"]["value"]
    counts = [row["signature"]["contexts"] for row in (content, short, found["human"])]
    assert counts[0] + counts[1] == counts[2]


def test_a_checkpoint_of_a_run_is_asked_as_it_was_trained(tiny_checkpoint: Path, tmp_path: Path):
    values = ["data.corpus=switchboard", "data.examples.pair_mode=segments"]
    config = overridden(VARIANTS["wed_s"](SMALL), values)
    RunFolder(tmp_path / "run").begin(config, config)
    shutil.copytree(tiny_checkpoint, tmp_path / "run" / "best")
    for corpus, mode in (("switchboard", PairMode.SEGMENTS), ("dailydialog", None)):
        source = CorpusSource(corpus=corpus, data_dir=Path(TOY))
        subject = CheckpointSubject(
            directory=tmp_path / "run", source=source, split=EvaluationSplit.FULL, device="cpu"
        )
        assert LoadedSubject(subject).trained_pair_mode is mode
    (tmp_path / "run" / "run.json").write_text("{}")
    assert LoadedSubject(subject).trained_pair_mode is None


def seen_leaks(checkpoint: Path, folder: Path, corpus: str, *, keep_leaks: bool) -> Path:
    """The same checkpoint as a run on a corpus made it."""
    shutil.copytree(checkpoint, folder)
    meta = json.loads((folder / "meta.json").read_text())
    meta["run"] = {"data": {"corpus": corpus, "examples": {"keep_leaks": keep_leaks}}}
    (folder / "meta.json").write_text(json.dumps(meta))
    return folder


def test_a_checkpoint_that_has_seen_leaks_is_told_apart_from_its_null_rows(
    tiny_checkpoint: Path, tmp_path: Path
):
    leaky = seen_leaks(tiny_checkpoint, tmp_path / "leaky", "dailydialog", keep_leaks=True)
    for flags, is_told in (((), True), (("--keep-leaks",), False)):
        output = tmp_path / f"out{len(flags)}"
        done = run(leaky, *QUICK, *flags, "--output", output)
        assert done.exit_code == 0, done.output
        notes = json.loads((output / "report.json").read_text())["notes"]
        assert any("trained with --keep-leaks" in note for note in notes) == is_told


@pytest.mark.parametrize(
    ("corpus", "keep_leaks", "has_seen"),
    [
        ("dailydialog", True, True),
        ("dailydialog", False, False),
        ("switchboard", True, False),
        (None, False, False),
    ],
)
def test_leaks_are_those_of_the_corpus_that_is_evaluated(
    tiny_checkpoint: Path, tmp_path: Path, corpus: str | None, keep_leaks: bool, has_seen: bool
):
    directory = tiny_checkpoint  # which knows of no run
    if corpus:
        directory = seen_leaks(directory, tmp_path / "made", corpus, keep_leaks=keep_leaks)
    source = CorpusSource(corpus="dailydialog", data_dir=Path(TOY))
    subject = CheckpointSubject(
        directory=directory, source=source, split=EvaluationSplit.FULL, device="cpu"
    )
    assert LoadedSubject(subject).has_seen_leaks is has_seen


def test_replies_are_not_written_over_the_file_they_come_from(tmp_path: Path):
    path = tmp_path / "replies.jsonl"
    path.write_text(LINE)
    done = run("--replies-file", path, "--output", tmp_path)
    assert done.exit_code == 2
    assert path.read_text() == LINE


def test_a_file_of_replies_is_judged_without_torch():
    code = "import sys, train.evaluate.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
