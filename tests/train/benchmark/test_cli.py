"""The whole benchmark through its command line."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.train.benchmark.conftest import TINY_VALUES
from train.benchmark.cli import app
from train.benchmark.figures import Benchmark

TINY = [flag for value in TINY_VALUES for flag in ("--set", value)]


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_json_holds_every_figure(tmp_path: Path):
    output = tmp_path / "new" / "folder"
    done = run("--variant", "coupled_cvae", "--corpus", "switchboard", "--device", "cpu",
               "--precision", "fp32", "--pairs", 200, "--quick", "--seconds", 0,
               "--against-plain", "--output", output, *TINY)  # fmt: skip
    assert done.exit_code == 0, done.output
    document = json.loads((output / "benchmark.json").read_text())
    found = Benchmark.model_validate(document)
    assert (found.variant, found.preset, found.batch_size) == ("coupled_cvae", "small", 8)
    assert found.pairs_from == "synthetic, as long as switchboard"
    assert found.step.pairs_per_second > 0
    assert found.flops_per_step == sum(o.flops for o in found.roofline.operators)
    assert 0 < found.share_of_ceiling < 1.2
    assert "companion" in {o.name for o in found.roofline.operators}
    assert found.plain is not None
    assert found.growth == ()
    assert document["config"]["model"]["vocab_size"] == 60
    assert "pairs/s" in done.output
    assert "companion" in done.output


def test_pairs_of_a_corpus(tmp_path: Path, toy: Path):
    done = run("--data-dir", toy, "--quick", "--seconds", 0, "--device", "cpu",
               "--output", tmp_path, *TINY, "--set", "data.vocabulary_size=200")  # fmt: skip
    assert done.exit_code == 0, done.output
    found = Benchmark.model_validate_json((tmp_path / "benchmark.json").read_text())
    assert (found.pairs_from, found.pairs) == ("dailydialog", 751)
    assert found.config["model"]["vocab_size"] == 200


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--variant", "nonsense"], "--variant 'nonsense': allowed are ded, ved, wed_d"),
        (["--preset", "nonsense"], "--preset 'nonsense': allowed are small"),
        (["--corpus", "nonsense"], "allowed are dailydialog, switchboard"),
        (["--pairs", "7"], "--pairs 7: a batch alone has 8"),
        (["--device", "nonsense"], "device 'nonsense'"),
        (["--precision", "nonsense"], "precision 'nonsense': allowed are"),
        (["--data-dir", "absent"], "absent: no such file or folder"),
        (["--data-dir", "absent", "--pairs", "9"], "--pairs is for synthetic pairs"),
        (["--set", "model.nonsense=1"], "model.nonsense"),
        (["--output", "file"], "--output file"),
    ],
)
def test_a_mistake_is_one_line_and_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], problem: str
):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    pairs = [] if "--data-dir" in arguments else ["--pairs", 40]
    done = run(*pairs, "--quick", *TINY, *arguments)
    assert done.exit_code == 2, done.output
    [line] = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert problem in line
