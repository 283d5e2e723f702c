"""The whole job through its command line, on the toy corpus."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from dialog_service.diversity import metric_tokens
from dialog_service.serving.live_diversity import LiveDiversity, Source
from train.evaluate.cli import app

TOY = str(Path(__file__).parents[2] / "data" / "toy")
LINE = '{"context": ["how are you ?"], "responses": ["fine ."], "replies": ["i am fine .", "ok"]}'


class Silent:
    def on_error(self, op: str) -> None:
        pytest.fail(op)


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


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


def test_every_row_has_its_signature(evaluated: Path):
    signatures = [row["signature"] for row in rows(evaluated).values()]
    assert {s["contexts"] for s in signatures} == {44}
    assert {s["split"] for s in signatures} == {"test/deduplicated"}
    assert len({s["decoding"] for s in signatures}) == len(signatures)
    assert signatures[0]["replies_per_context"] == 3


def test_the_written_replies_score_the_same(evaluated: Path, tmp_path: Path):
    done = run("--replies-file", evaluated / "replies.jsonl", "--output", tmp_path,
               "--corpus", "dailydialog", "--data-dir", TOY)  # fmt: skip
    assert done.exit_code == 0, done.output
    assert rows(tmp_path)["replies.jsonl"]["figures"] == rows(evaluated)["wed_s"]["figures"]
    assert rows(tmp_path)["human"]["figures"] == rows(evaluated)["human"]["figures"]


def test_without_a_corpus_a_file_has_fewer_null_rows(tmp_path: Path):
    path = tmp_path / "mine.jsonl"
    path.write_text(LINE)
    done = run("--replies-file", path, "--output", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert list(rows(tmp_path / "out")) == ["mine.jsonl", "human", "echo of the post"]
    assert "random and BM25 rows, UniKL and relevance need --corpus" in done.output


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
        (["CHECKPOINT", "--corpus", "nonsense", "--data-dir", TOY], "unknown corpus 'nonsense'"),
        (["CHECKPOINT", "--data-dir", TOY, "--temperature", "nan"], "--temperature nan"),
        (["CHECKPOINT", "--data-dir", "absent"], "absent: no such file or folder"),
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


def test_replies_are_not_written_over_the_file_they_come_from(tmp_path: Path):
    path = tmp_path / "replies.jsonl"
    path.write_text(LINE)
    done = run("--replies-file", path, "--output", tmp_path)
    assert done.exit_code == 2
    assert path.read_text() == LINE


def test_a_file_of_replies_is_judged_without_torch():
    code = "import sys, train.evaluate.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
