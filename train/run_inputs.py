"""What a run is trained on: examples as token ids, the config made concrete, its provenance."""

import math
import subprocess
from dataclasses import dataclass
from pathlib import Path

from dialog_service.checkpoint import CheckpointMeta
from dialog_service.errors import ConfigError, CorpusError
from dialog_service.text import normalise
from dialog_service.vocabulary import Vocabulary
from train.config import DataConfig, RunConfig
from train.data.batches import TokenisedPairs, tokenise
from train.data.examples import Examples

SAMPLE_POSTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInputs:
    """A resolved config with the tokens it is trained on and where its checkpoint comes from."""

    config: RunConfig
    vocabulary: Vocabulary
    train: TokenisedPairs
    validation: TokenisedPairs
    meta: CheckpointMeta
    sample_posts: tuple[str, ...]


def make_inputs(config: RunConfig, examples: Examples) -> RunInputs:
    """Fit the vocabulary on training text alone, tokenise, resolve the config.

    Raises:
        ConfigError: the vocabulary cannot be as asked, or a batch is larger than the corpus.
        CorpusError: too few validation pairs to choose a checkpoint by.
    """
    if len(examples.validation) < 2:
        raise CorpusError(
            f"corpus {config.data.corpus}: {len(examples.validation)} validation pairs are left "
            "(those that occur in training do not count); at least 2 are needed"
        )
    if len(examples.train) < config.optimisation.batch_size:
        raise ConfigError(
            f"optimisation.batch_size: {config.optimisation.batch_size} is more than the "
            f"{len(examples.train)} training pairs there are"
        )
    vocabulary = _fitted(config.data, examples)
    train = tokenise(examples.train, vocabulary, config.model)
    planned_steps = config.planned_steps(len(train))
    _refuse_late_schedules(config, planned_steps)
    resolved = config.resolved(
        vocab_size=len(vocabulary),
        mean_target_tokens=train.mean_target_tokens,
        planned_steps=planned_steps,
    )
    return RunInputs(
        config=resolved,
        vocabulary=vocabulary,
        train=train,
        validation=tokenise(examples.validation, vocabulary, config.model),
        meta=_meta(resolved, examples),
        sample_posts=_sample_posts(examples),
    )


def _refuse_late_schedules(config: RunConfig, planned_steps: int) -> None:
    steps_per_epoch = planned_steps // config.optimisation.epochs
    for term in config.objective.terms:
        needed = term.schedule.needed_steps
        if needed > planned_steps:
            raise ConfigError(
                f"objective.terms.{term.kind}.schedule ends at step {needed:,.0f}, the run at step "
                f"{planned_steps:,}: set optimisation.epochs={math.ceil(needed / steps_per_epoch)} "
                "or more, or state the schedule in fractions of the run"
            )


def _fitted(config: DataConfig, examples: Examples) -> Vocabulary:
    texts = {normalise(text) for pair in examples.train for text in (*pair.context, pair.response)}
    try:
        return Vocabulary.fit(
            sorted(texts), size=config.vocabulary_size, mode=config.vocabulary_mode
        )
    except RuntimeError as error:  # SentencePiece's; the reason is behind its source line
        reason = str(error).rpartition("] ")[2]
        raise ConfigError(f"data.vocabulary_size={config.vocabulary_size}: {reason}") from error


def _meta(config: RunConfig, examples: Examples) -> CheckpointMeta:
    return CheckpointMeta(
        variant=config.variant,
        preset=config.preset,
        corpus=config.data.corpus,
        seed=config.seed,
        commit=code_commit(),
        data_fingerprint=examples.fingerprint,
        run=config.model_dump(mode="json"),
    )


def _sample_posts(examples: Examples) -> tuple[str, ...]:
    """Posts from all over the validation split, whose replies a person sees after each epoch."""
    stride = max(1, len(examples.validation) // SAMPLE_POSTS)
    return tuple(pair.context[-1] for pair in examples.validation[::stride][:SAMPLE_POSTS])


def code_commit() -> str:
    """The commit of the code that trains, marked if it differs; "unknown" outside a checkout."""
    try:
        told = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return "unknown"
    return told.stdout.strip() or "unknown"
