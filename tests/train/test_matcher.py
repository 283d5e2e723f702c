"""Fitting a matcher: what it learns, what it leaves as it was, and what it refuses."""

import shutil
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import Tensor
from typer.testing import CliRunner

from dialog_service.checkpoint import Checkpoint, load_checkpoint
from dialog_service.errors import ConfigError
from dialog_service.models.config import MatcherConfig
from dialog_service.models.matcher import Matcher
from train.config import RunConfig
from train.data.examples import ExampleOptions, Examples
from train.matcher import app
from train.matching import MatchingSettings, example_options, with_matcher
from train.matching.learning import _loss
from train.matching.material import Material, read_material
from train.presets import SMALL as SMALL_PRESET
from train.variants import VARIANTS

SMALL = MatchingSettings(
    matcher=MatcherConfig(hidden_size=48, output_size=24),
    batch_size=64,
    epochs=30,
    learning_rate=1e-2,
)
CONSOLE = Console(quiet=True)


@pytest.fixture
def checkpoint(tiny_checkpoint: Path) -> Checkpoint:
    return load_checkpoint(tiny_checkpoint)


def test_it_tells_responses_from_other_replies(
    checkpoint: Checkpoint, toy_examples: Examples
) -> None:
    matched, quality = with_matcher(checkpoint, toy_examples, SMALL, CONSOLE)
    assert quality.pairs == len(toy_examples.validation)
    assert quality.accuracy > 0.55
    assert quality.mean_rank < 35  # 50.5 by chance
    assert matched.meta.metrics["matcher_mean_rank"] == quality.mean_rank
    unlearned = SMALL.model_copy(update={"learning_rate": 1e-12})
    _, chance = with_matcher(checkpoint, toy_examples, unlearned, CONSOLE)
    assert chance.mean_rank > quality.mean_rank + 8


def test_nothing_else_of_the_model_changes(checkpoint: Checkpoint, toy_examples: Examples) -> None:
    once = SMALL.model_copy(update={"epochs": 1})
    first, _ = with_matcher(checkpoint, toy_examples, once, CONSOLE)
    again, _ = with_matcher(first, toy_examples, once, CONSOLE)  # one that has a matcher gets anew
    other, _ = with_matcher(checkpoint, toy_examples, once.model_copy(update={"seed": 1}), CONSOLE)
    kept = checkpoint.model.state_dict()
    for name, value in first.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name]), name
        if name in kept:
            assert torch.equal(value, kept[name]), name
    weights = [each.model.state_dict()["matcher.replies.output.weight"] for each in (first, other)]
    assert not torch.equal(*weights)
    assert not first.model.training


def test_material_is_what_the_service_reads(checkpoint: Checkpoint, toy_examples: Examples) -> None:
    pairs = toy_examples.validation[:40]
    material = read_material(checkpoint, pairs, CONSOLE)
    for row in (0, 7, 39):
        alone = read_material(checkpoint, pairs[row : row + 1], CONSOLE)
        for place in ("contexts", "posts", "replies"):
            wanted = alone.features[getattr(alone, place)[0]]
            found = material.features[getattr(material, place)[row]]
            assert torch.allclose(found, wanted, atol=1e-5)
    assert len(material.features) < 3 * len(pairs)  # a text is read once


def test_the_command_writes_a_checkpoint_that_rates(
    tiny_checkpoint: Path, toy: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(tiny_checkpoint, run / "best")
    arguments = [str(run), "--corpus", "dailydialog", "--data-dir", str(toy), "--epochs", "1"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "ranks it" in result.output
    assert load_checkpoint(run).model.matcher is not None
    elsewhere = tmp_path / "elsewhere"
    result = CliRunner().invoke(app, [*arguments, "--output", str(elsewhere)])
    assert result.exit_code == 0, result.output
    assert load_checkpoint(elsewhere).model.matcher is not None


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--corpus", "sentences"], "sentences"),
        (["--corpus", "dailydialog", "--data-dir", "nowhere"], "nowhere"),
    ],
)
def test_a_mistake_is_one_line(tiny_checkpoint: Path, flags: list[str], said: str) -> None:
    result = CliRunner().invoke(app, [str(tiny_checkpoint), *flags])
    assert result.exit_code == 2
    assert said in result.output
    assert len(result.output.splitlines()) == 1


def test_what_lies_beside_a_checkpoint_is_not_lost(
    tiny_checkpoint: Path, toy: Path, tmp_path: Path
) -> None:
    packaged = tmp_path / "packaged"
    shutil.copytree(tiny_checkpoint, packaged)
    (packaged / "LICENSE").write_text("dear")
    arguments = [str(packaged), "--corpus", "dailydialog", "--data-dir", str(toy)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert "LICENSE among it: name another directory" in result.output
    assert (packaged / "LICENSE").read_text() == "dear"


def test_too_few_pairs_are_a_mistake(checkpoint: Checkpoint, toy_examples: Examples) -> None:

    settings = SMALL.model_copy(update={"batch_size": 100_000})
    with pytest.raises(ConfigError, match="100000 training pairs"):
        with_matcher(checkpoint, toy_examples, settings, CONSOLE)


def test_pairs_are_those_of_the_run(checkpoint: Checkpoint) -> None:
    assert example_options(checkpoint, CONSOLE) == ExampleOptions(context_turns=1)
    asked = ExampleOptions(context_turns=3, keep_leaks=True)
    run = {"data": {"examples": asked.model_dump(mode="json")}}
    meta = checkpoint.meta.model_copy(update={"run": run})
    told = Checkpoint(
        model=checkpoint.model,
        vocabulary=checkpoint.vocabulary,
        sampling=checkpoint.sampling,
        meta=meta,
    )
    assert example_options(told, CONSOLE) == asked


def test_a_run_does_not_train_one() -> None:
    tiny = VARIANTS["wed_s"](SMALL_PRESET)
    model = tiny.model.model_copy(update={"matcher": MatcherConfig()})
    with pytest.raises(ValueError, match=r"train\.matcher"):
        RunConfig.model_validate({**tiny.model_dump(), "model": model.model_dump()})


def test_the_loss_is_its_definition() -> None:
    """Three pairs, the last two with the same response, the second the echo of its post."""
    torch.manual_seed(3)
    matcher = Matcher(MatcherConfig(hidden_size=6, output_size=4), feature_size=5).eval()
    material = Material(
        features=torch.randn(5, 5),
        contexts=torch.tensor([0, 1, 2]),
        posts=torch.tensor([0, 4, 2]),
        replies=torch.tensor([3, 4, 4]),
    )
    u, v = matcher.contexts(material.features), matcher.replies(material.features)
    scale = 3.0

    def surprise(own: Tensor, *others: Tensor) -> Tensor:
        return torch.stack([own, *others]).logsumexp(dim=0) - own

    def score(context: int, reply: int) -> Tensor:
        return scale * (u[context] * v[reply]).sum()

    forth = [
        surprise(score(0, 3), score(0, 4), score(0, 4), score(0, 0)),
        surprise(score(1, 4), score(1, 3)),  # not the third's, nor its own post, which it is
        surprise(score(2, 4), score(2, 3), score(2, 2)),
    ]
    back = [
        surprise(score(0, 3), score(1, 3), score(2, 3)),
        surprise(score(1, 4), score(0, 4)),
        surprise(score(2, 4), score(0, 4)),
    ]
    wanted = (torch.stack(forth).mean() + torch.stack(back).mean()) / 2
    found = _loss(matcher, material, torch.arange(3), torch.tensor(scale))
    assert found.item() == pytest.approx(wanted.item(), rel=1e-5)


def test_probabilities_are_calibrated(checkpoint: Checkpoint, toy_examples: Examples) -> None:
    matched, _ = with_matcher(checkpoint, toy_examples, SMALL, CONSOLE)
    material = read_material(checkpoint, toy_examples.validation, CONSOLE)
    matcher = matched.model.matcher
    assert matcher is not None
    with torch.inference_mode():
        u = matcher.contexts(material.features[material.contexts])
        v = matcher.replies(material.features[material.replies])
        own, others = matcher.relevance(u, v), matcher.relevance(u, v.roll(7, dims=0))
    assert matcher.slope.item() > 0
    # At the best line the mean of all is the share of responses, a half (Platt's targets aside).
    assert float(torch.cat([own, others]).mean()) == pytest.approx(0.5, abs=0.06)
    assert own.mean() > others.mean()


def test_where_it_comes_from_is_kept(checkpoint: Checkpoint, toy_examples: Examples) -> None:
    once = SMALL.model_copy(update={"epochs": 1, "seed": 5})
    matched, _ = with_matcher(checkpoint, toy_examples, once, CONSOLE)
    made = matched.meta.run["matcher"]
    assert isinstance(made, dict)
    assert made["settings"] == once.model_dump(mode="json")
    assert made["data_fingerprint"] == toy_examples.fingerprint
    assert {**matched.meta.run, "matcher": None} == {**checkpoint.meta.run, "matcher": None}
