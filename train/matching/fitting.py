"""From a checkpoint and a corpus to the checkpoint with a matcher."""

from dataclasses import replace

import torch
from pydantic import JsonValue, ValidationError
from rich.console import Console

from dialog_service.checkpoint import Checkpoint, CheckpointMeta
from dialog_service.errors import ConfigError
from dialog_service.models.seq2seq import build_model
from train.data.examples import ExampleOptions, Examples
from train.matching.learning import Quality, fit_matcher
from train.matching.material import read_material
from train.matching.settings import MatchingSettings
from train.run_inputs import code_commit


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
    kept = {
        name: value
        for name, value in checkpoint.model.state_dict().items()
        if not name.startswith("matcher.")
    }
    model.load_state_dict({**model.state_dict(), **kept})
    assert model.matcher is not None
    learned, held_out = (
        read_material(checkpoint, pairs, console) for pairs in (examples.train, examples.validation)
    )
    quality = fit_matcher(model.matcher, learned, held_out, settings, console)
    return replace(
        checkpoint, model=model, meta=_told(checkpoint, examples, settings, quality)
    ), quality


def _told(
    checkpoint: Checkpoint, examples: Examples, settings: MatchingSettings, quality: Quality
) -> CheckpointMeta:
    """Where the matcher comes from, beside where the rest does."""
    meta = checkpoint.meta
    figures = {"matcher_accuracy": quality.accuracy, "matcher_mean_rank": quality.mean_rank}
    made: dict[str, JsonValue] = {
        "settings": settings.model_dump(mode="json"),
        "corpus": examples.report.corpus,
        "data_fingerprint": examples.fingerprint,
        "commit": code_commit(),
    }
    return meta.model_copy(
        update={"metrics": {**meta.metrics, **figures}, "run": {**meta.run, "matcher": made}}
    )


def example_options(checkpoint: Checkpoint, console: Console) -> ExampleOptions:
    """How the run that made a checkpoint paired its corpus; if it does not say, as is usual.

    What it says and this version does not know is told, and passed over.
    """
    usual = ExampleOptions(context_turns=checkpoint.model.config.context_turns)
    data = checkpoint.meta.run.get("data")
    said = data.get("examples") if isinstance(data, dict) else None
    try:
        return ExampleOptions.model_validate(said) if said else usual
    except ValidationError:
        console.print("pairs are made as is usual: what the run says of them is of another version")
        return usual
