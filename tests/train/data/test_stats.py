"""``python -m train.data stats``: its figures, its table, and how it ends on a user's mistake."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from train.data.stats import app


def stats(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["stats", *map(str, arguments)])


def test_json_has_every_figure(toy: Path) -> None:
    result = stats("--corpus", "dailydialog", "--data-dir", toy, "--json")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert document["corpus"] == "dailydialog"
    assert document["splits"]["train"]["dialogs"] == 200
    assert document["splits"]["train"]["leaked_dialogs"] == 8
    test = document["splits"]["test"]
    assert 0 < test["kept"] < test["pairs"]
    assert document["skipped_lines"] == 0
    assert document["other_pairings"] == []


def test_switchboard_shows_both_ways_to_pair(toy: Path) -> None:
    document = json.loads(stats("--corpus", "switchboard", "--data-dir", toy, "--json").stdout)
    (segments,) = document["other_pairings"]
    assert (document["pair_mode"], segments["pair_mode"]) == ("turns", "segments")
    assert document["splits"]["train"]["pairs"] < segments["splits"]["train"]["pairs"]


def test_table_shows_figures_and_skipped_lines(toy: Path, tmp_path: Path) -> None:
    shutil.copytree(toy / "jsonl", tmp_path / "jsonl")
    file = tmp_path / "jsonl" / "train.jsonl"
    file.write_text(f"\n{file.read_text()}")
    result = stats("--corpus", "jsonl", "--data-dir", tmp_path)
    assert result.exit_code == 0
    assert "validation" in result.stdout
    assert "8 are" in result.stdout
    assert "Skipped lines: 1 (blank line: 1)" in result.stdout
    assert f"{file}:1: blank line" in result.stdout


def test_the_environment_names_the_folder(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORPORA_DIR", str(toy))
    assert stats("--json").exit_code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--corpus", "nothing"),
        ("--data-dir", "/no/such/place"),
        ("--data-dir", Path(__file__).parent),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments: tuple[str | Path, ...]) -> None:
    result = stats(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1


def test_as_a_module_it_starts_without_torch(toy: Path) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "train.data", "stats", "--json"]
    environment = {**os.environ, "CORPORA_DIR": str(toy)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["splits"]["train"]["dialogs"] == 200
    assert "train.data.stats" in done.stderr
    assert "torch" not in done.stderr
