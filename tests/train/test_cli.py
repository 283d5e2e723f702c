"""``python -m train.<variant>``: flags to config to run, and one line for every mistake."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner, Result

from dialog_service.checkpoint import load_checkpoint
from train import __main__ as any_variant
from train import cli, coupled_cvae, cvae, ded, gru, ved, wed
from train.cli import Choice, Flags
from train.overrides import overridden
from train.presets import SMALL
from train.state import load_state

Run = Callable[..., Result]


@pytest.fixture
def run(tiny_flags: list[str]) -> Run:
    """Run a program on the toy corpus for one epoch."""

    def invoke(app: typer.Typer, *arguments: str | Path) -> Result:
        flags = [*tiny_flags, "--set", "optimisation.epochs=1", *map(str, arguments)]
        return CliRunner().invoke(app, flags)

    return invoke


def one_line(result: Result) -> str:
    """The complaint of a program that ended as a user's mistake should."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    complaint = result.stderr.rstrip("\n").splitlines()[-1]
    assert complaint.startswith("error: ")
    assert "Traceback" not in result.stderr
    return complaint


def test_help_teaches():
    result = CliRunner().invoke(wed.app, ["--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    shown = " ".join(re.sub(r"[│╭╮╰╯─]", " ", result.output).split())
    assert result.exit_code == 0
    for flag in ("--stochastic", *cli_flags()):
        assert flag in shown
    for taught in (
        "dailydialog, switchboard or jsonl",
        "small, medium, best, paper",
        "optimisation.epochs=3",
        "dialog-service serve --model",
        "Without flags: the small preset on DailyDialog",
        "Ctrl-C",
        "--resume",
        "torchrun --nproc-per-node",
        "CORPORA_DIR",
        "runs/<name>-<time>",
    ):
        assert taught in shown, taught


def cli_flags() -> list[str]:
    return [f"--{name.rstrip('_').replace('_', '-')}" for name in Flags.__dataclass_fields__]


def test_without_a_corpus_one_line_says_where_to_get_it(tmp_path: Path):
    bare = subprocess.run(
        [sys.executable, "-m", "train.wed"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(cli.__file__).parents[1]), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert bare.returncode == 2
    assert bare.stdout == ""
    (line,) = bare.stderr.splitlines()
    assert line.startswith("error: no folder of DailyDialog is named")
    assert "get it from http" in line
    assert "--data-dir or CORPORA_DIR" in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("app", "flags", "variant"),
    [
        (ded.app, [], "ded"),
        (wed.app, [], "wed_d"),
        (wed.app, ["--stochastic"], "wed_s"),
        (ved.app, [], "ved"),
        (gru.app, [], "gru"),
        (cvae.app, ["--pair-mode", "adjacent"], "cvae"),
        (coupled_cvae.app, ["--match", "euclidean", "--lambda-m", "0.5"], "coupled_cvae"),
        (any_variant.app, ["wed_s"], "wed_s"),
    ],
    ids=["ded", "wed", "wed --stochastic", "ved", "gru", "cvae", "coupled_cvae", "by name"],
)
def test_each_program_trains_its_variant(
    tiny_flags: list[str], tmp_path: Path, app: typer.Typer, flags: list[str], variant: str
):
    output = tmp_path / "deep" / "run"
    sizes = [flag for flag in tiny_flags if variant != "gru" or "latent_dim" not in flag]
    sizes = [flag for flag, after in zip(sizes, [*sizes[1:], ""], strict=True) if flag != after]
    more = ["--set", "optimisation.epochs=1", "--seed", "5", "--keep-leaks"]
    result = CliRunner().invoke(app, [*flags, *sizes, *more, "--output", str(output)])
    assert result.exit_code == 0, result.output
    assert "training pairs" in result.stderr
    assert f"serve it: dialog-service serve --model {output}" in result.stderr.replace("\n", "")
    meta = load_checkpoint(output).meta
    assert (meta.variant, meta.preset, meta.seed) == (variant, "small", 5)
    assert '"keep_leaks": true' in (output / "run.json").read_text()


def test_flags_of_the_coupling_are_values_of_the_config(tmp_path: Path):
    choice = coupled_cvae.choose(coupled_cvae.Match.EUCLIDEAN, lambda_m=0.5, lambda_r=0.0)
    config = overridden(choice.variant(SMALL), list(choice.assignments))
    (_, coupling) = config.objective.terms
    assert (coupling.match, coupling.match_weight) == ("euclidean", 0.5)
    assert coupling.reconstruction_weight == 0.0
    assert coupled_cvae.choose() == Choice(coupled_cvae.coupled_cvae)


def test_an_unknown_variant_names_those_there_are(run: Run):
    complaint = one_line(run(any_variant.app, "transformer"))
    assert "variant 'transformer': allowed are ded, ved, wed_d, wed_s, gru" in complaint


def test_the_default_output_is_named_by_variant_and_time(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    assert run(ded.app).exit_code == 0
    (made,) = (tmp_path / "runs").iterdir()
    assert re.fullmatch(r"ded-\d{8}-\d{6}", made.name)


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--preset", "huge"], "--preset 'huge': allowed are small, medium, best, paper"),
        (["--corpus", "nothing"], "unknown corpus 'nothing'; there is: dailydialog, switchboard"),
        (["--data-dir", "/nowhere"], "/nowhere: no such file or folder"),
        (["--device", "abacus"], "device 'abacus': allowed are auto, cpu, cuda, cuda:N"),
        (["--precision", "fp8"], "precision 'fp8': allowed are auto, fp32, bf16"),
        (["--set", "optimisation.epoch=3"], "no 'epoch'; there is: epochs, batch_size"),
        (["--set", "optimisation.batch_size=5000"], "optimisation.batch_size: 5000 is more than"),
        (["--resume"], "--resume needs --output"),
    ],
)
def test_a_mistake_is_one_line(run: Run, tmp_path: Path, monkeypatch, flags, complaint):
    monkeypatch.chdir(tmp_path)
    assert complaint in one_line(run(wed.app, *flags))
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_cannot_be_written_is_one_line(run: Run, tmp_path: Path):
    (tmp_path / "file").touch()
    complaint = one_line(run(wed.app, "--output", tmp_path / "file" / "run"))
    assert f"--output {tmp_path}/file/run: Not a directory" in complaint


@pytest.fixture(scope="module")
def finished(tiny_flags: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("finished") / "run"
    flags = [*tiny_flags, "--set", "optimisation.epochs=1", "--output", str(output)]
    assert CliRunner().invoke(wed.app, flags).exit_code == 0
    return output


def content(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file() and "events" not in path.name]
    return {str(path): path.read_bytes() for path in files}


def test_a_run_is_not_overwritten(run: Run, finished: Path):
    before = content(finished)
    complaint = one_line(run(wed.app, "--output", finished))
    assert f"--output {finished}: run.json is there already; add --resume" in complaint
    assert content(finished) == before


@pytest.mark.parametrize(
    ("app", "flags", "complaint"),
    [
        (ded.app, [], "holds a run of wed_d, not ded"),
        (wed.app, ["--stochastic"], "holds a run of wed_d, not wed_s"),
        (wed.app, ["--preset", "medium"], "holds --preset small, not medium"),
        (wed.app, ["--seed", "3"], "was begun with other values: seed 0 -> 3"),
        (wed.app, ["--corpus", "jsonl"], "data.corpus dailydialog -> jsonl"),
        (wed.app, ["--keep-leaks"], "data.examples.keep_leaks False -> True"),
        (wed.app, ["--set", "optimisation.epochs=2"], "optimisation.epochs 1 -> 2"),
    ],
)
def test_a_resumed_run_keeps_its_config(run: Run, finished: Path, app, flags, complaint):
    before = content(finished)
    assert complaint in one_line(run(app, "--resume", "--output", finished, *flags))
    assert content(finished) == before


def test_a_finished_run_resumed_says_so_and_changes_nothing(run: Run, finished: Path, toy: Path):
    before = content(finished)
    flags = ["--resume", "--output", str(finished), "--data-dir", str(toy), "--precision", "fp32"]
    for result in (
        run(wed.app, "--resume", "--output", finished),
        CliRunner().invoke(wed.app, flags),
    ):
        assert result.exit_code == 0, result.output
        assert "done after epoch 1; the best was epoch 1" in result.stderr
    assert content(finished) == before
    assert load_state(finished / "training").position.is_finished


def test_an_interruption_before_the_first_step_is_one_line(run: Run, tmp_path: Path, monkeypatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "load_examples", interrupted)
    result = run(wed.app, "--output", tmp_path / "run")
    assert result.exit_code == 130
    assert result.stderr == "stopped before the first step: nothing to resume\n"


def test_a_gpu_with_too_little_memory_is_one_line(run: Run, tmp_path: Path, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has")

    monkeypatch.setattr(cli, "fit", fail)
    line = one_line(run(wed.app, "--output", tmp_path / "run"))
    assert "optimisation.batch_size" in line
    assert line.endswith("(CUDA out of memory)")
