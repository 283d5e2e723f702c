"""What many tests need: a tiny checkpoint with real parts, and where the real corpora are."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dialog_service.checkpoint import (
    Checkpoint,
    CheckpointMeta,
    SamplingDefaults,
    load_checkpoint,
    save_checkpoint,
)
from dialog_service.models.config import (
    GaussianPosterior,
    LstmDecoder,
    LstmEncoder,
    MatcherConfig,
    ModelConfig,
    StandardNormalPrior,
)
from dialog_service.models.seq2seq import build_model
from dialog_service.text import normalise
from dialog_service.vocabulary import Vocabulary

torch.set_num_threads(1)  # tiny models: threads would only wait for one another

_SUBJECTS = ("the train", "my sister", "our teacher", "the soup", "a taxi", "the weather")
_VERBS = ("looks", "seems", "was", "will be", "is not", "feels")
_REST = ("late today", "really good", "quite cold", "far too expensive", "ready now", "at home")


def tiny_texts() -> list[str]:
    """A few hundred short sentences: enough for a vocabulary."""
    return [normalise(f"{s} {v} {r}.") for s in _SUBJECTS for v in _VERBS for r in _REST]


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of an untrained, seeded WED-S-shaped checkpoint that loads in no time."""
    vocabulary = Vocabulary.fit(tiny_texts(), size=120, mode="unigram")
    torch.manual_seed(7)
    model = build_model(
        ModelConfig(
            vocab_size=len(vocabulary),
            embedding_dim=24,
            max_context_tokens=16,
            max_response_tokens=12,
            encoder=LstmEncoder(hidden_size=16),
            posterior=GaussianPosterior(latent_dim=8, initial_scale=1.0),
            prior=StandardNormalPrior(),
            decoder=LstmDecoder(hidden_size=32, tied_output=True),
        )
    )
    meta = CheckpointMeta(
        variant="wed_s",
        preset="tiny",
        corpus="sentences",
        seed=7,
        commit="unknown",
        data_fingerprint="none",
    )
    directory = tmp_path_factory.mktemp("checkpoint") / "tiny"
    save_checkpoint(
        Checkpoint(
            model=model, vocabulary=vocabulary, sampling=SamplingDefaults(top_p=0.95), meta=meta
        ),
        directory,
    )
    return directory


@pytest.fixture(scope="session")
def matched_checkpoint(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a matcher, as untrained as the rest."""
    tiny = load_checkpoint(tiny_checkpoint)
    torch.manual_seed(8)
    # Sizes at which libraries add up differently in different company.
    matcher = MatcherConfig(hidden_size=512, output_size=256)
    model = build_model(tiny.model.config.model_copy(update={"matcher": matcher}))
    model.load_state_dict(tiny.model.state_dict(), strict=False)
    directory = tmp_path_factory.mktemp("checkpoint") / "matched"
    save_checkpoint(replace(tiny, model=model), directory)
    return directory
