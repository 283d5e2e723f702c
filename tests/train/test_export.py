"""Exported checkpoints: smaller, with other defaults, still replying."""

from pathlib import Path

from typer.testing import CliRunner

from dialog_service.checkpoint import load_checkpoint
from dialog_service.generation import GenerationRequest, Generator
from train.export import app


def size(directory: Path) -> int:
    return (directory / "weights.safetensors").stat().st_size


def test_weights_halve_and_defaults_change(tiny_checkpoint: Path, tmp_path: Path) -> None:
    output = tmp_path / "small"
    arguments = [str(tiny_checkpoint), "--output", str(output), "--temperature", "0.5"]
    result = CliRunner().invoke(app, [*arguments, "--version", "7"])
    assert result.exit_code == 0, result.output
    assert size(output) < 0.6 * size(tiny_checkpoint)
    exported = load_checkpoint(output)
    assert exported.meta.version == "7"
    assert exported.sampling.temperature == 0.5
    assert exported.sampling.top_p == load_checkpoint(tiny_checkpoint).sampling.top_p
    generator = Generator(exported)
    asked = GenerationRequest(
        turns=("the soup was cold.",), reply_count=3, sampling=generator.defaults, seed=1
    )
    (replied,) = generator.generate([asked])
    assert replied is not None
    assert len(replied.candidates) == 3


def test_a_default_out_of_range_is_one_line(tiny_checkpoint: Path, tmp_path: Path) -> None:
    arguments = [str(tiny_checkpoint), "--output", str(tmp_path / "x"), "--temperature", "9"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert "temperature" in result.output
    assert len(result.output.splitlines()) == 1
    assert not (tmp_path / "x").exists()


def test_a_default_is_named_as_its_flag_is(tiny_checkpoint: Path, tmp_path: Path) -> None:
    arguments = [str(tiny_checkpoint), "--output", str(tmp_path / "x"), "--latent-scale", "-1"]
    assert "--latent-scale: " in CliRunner().invoke(app, arguments).output


def test_a_folder_of_something_else_is_not_replaced(tiny_checkpoint: Path, tmp_path: Path) -> None:
    output = tmp_path / "corpora"
    output.mkdir()
    assert CliRunner().invoke(app, [str(tiny_checkpoint), "--output", str(output)]).exit_code == 0
    (output / "train.jsonl").write_text("dear")
    result = CliRunner().invoke(app, [str(tiny_checkpoint), "--output", str(output)])
    assert result.exit_code == 2
    assert "train.jsonl among it: name another directory" in result.output
    assert (output / "train.jsonl").read_text() == "dear"
