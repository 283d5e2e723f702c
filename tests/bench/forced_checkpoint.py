"""A checkpoint of the plain model's sizes, weights as they start, whose replies never end."""

import itertools
import string
from pathlib import Path

import torch
from plain_model import PAPER, PlainSizes

from dialog_service.checkpoint import (
    Checkpoint,
    CheckpointMeta,
    SamplingDefaults,
    save_checkpoint,
)
from dialog_service.models.config import (
    GaussianPosterior,
    LstmDecoder,
    LstmEncoder,
    ModelConfig,
    StandardNormalPrior,
)
from dialog_service.models.seq2seq import build_model
from dialog_service.vocabulary import EOS, Vocabulary


def words(count: int) -> list[str]:
    """So many different words."""
    letters = itertools.product(string.ascii_lowercase, repeat=4)
    return ["".join(each) for each in itertools.islice(letters, count)]


def save_forced(directory: Path, sizes: PlainSizes = PAPER) -> None:
    """Write the checkpoint; greedy, so that the codes alone make replies differ."""
    torch.manual_seed(0)
    vocabulary = Vocabulary.fit(words(sizes.words), size=sizes.words, mode="word")
    model = build_model(
        ModelConfig(
            vocab_size=len(vocabulary),
            embedding_dim=sizes.embedding,
            max_context_tokens=20,
            max_response_tokens=sizes.tokens,
            encoder=LstmEncoder(hidden_size=sizes.hidden),
            posterior=GaussianPosterior(latent_dim=sizes.latent, initial_scale=1.0),
            prior=StandardNormalPrior(),
            decoder=LstmDecoder(hidden_size=sizes.hidden),
        )
    )
    with torch.no_grad():
        model.decoder.output.bias[EOS] = -1e9  # a checkpoint's values are finite
    meta = CheckpointMeta(
        variant="forced",
        preset="paper sizes",
        corpus="none",
        seed=0,
        commit="unknown",
        data_fingerprint="none",
        version="1",
        metrics={},
        run={},
    )
    sampling = SamplingDefaults(temperature=0.0)
    save_checkpoint(
        Checkpoint(model=model, vocabulary=vocabulary, sampling=sampling, meta=meta), directory
    )
