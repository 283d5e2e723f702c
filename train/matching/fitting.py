"""From a checkpoint and a corpus to the checkpoint with a matcher."""

import torch
from pydantic import ValidationError
from rich.console import Console

from dialog_service.checkpoint import Checkpoint
from dialog_service.errors import ConfigError
from dialog_service.models.seq2seq import build_model
from train.data.examples import ExampleOptions, Examples
from train.matching.learning import Quality, fit_matcher
from train.matching.material import read_material
from train.matching.settings import MatchingSettings


def with_matcher(
    checkpoint: Checkpoint, examples: Examples, settings: MatchingSettings, console: Console
) -> tuple[Checkpoint, Quality]:
    """The checkpoint with a matcher, learnt from training pairs and measured on validation pairs.

    Raises:
        ConfigError: there are too few pairs.
    """
    if len(examples.train) < settings.batch_size or len(examples.validation) < 2:
        raise ConfigError(
            f"a matcher takes {settings.batch_size} training pairs and 2 of validation; there are "
            f"{len(examples.train)} and {len(examples.validation)}"
        )
    config = checkpoint.model.config.model_copy(update={"matcher": settings.matcher})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        model = build_model(config).eval()
    kept = {name: p for name, p in checkpoint.model.state_dict().items() if "matcher." not in name}
    model.load_state_dict(kept, strict=False)
    assert model.matcher is not None
    learned, held_out = (
        read_material(checkpoint, pairs, console) for pairs in (examples.train, examples.validation)
    )
    quality = fit_matcher(model.matcher, learned, held_out, settings, console)
    figures = {"matcher_accuracy": quality.accuracy, "matcher_mean_rank": quality.mean_rank}
    metrics = {**checkpoint.meta.metrics, **figures}
    matched = Checkpoint(
        model=model,
        vocabulary=checkpoint.vocabulary,
        sampling=checkpoint.sampling,
        meta=checkpoint.meta.model_copy(update={"metrics": metrics}),
    )
    return matched, quality


def example_options(checkpoint: Checkpoint) -> ExampleOptions:
    """How the run that made a checkpoint paired its corpus; if it does not say, as is usual."""
    turns = checkpoint.model.config.context_turns
    data = checkpoint.meta.run.get("data")
    said = data.get("examples") if isinstance(data, dict) else None
    try:
        return ExampleOptions.model_validate(said or {"context_turns": turns})
    except ValidationError:  # of another version of this program
        return ExampleOptions(context_turns=turns)
