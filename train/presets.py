"""How large and how long: sizes of a run, each its parent plus the difference."""

from dataclasses import dataclass, replace

from dialog_service.errors import ConfigError
from dialog_service.vocabulary import VocabularyMode
from train.config import OptimisationConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """Everything about a run that no variant changes."""

    name: str
    embedding_dim: int
    encoder_hidden_size: int
    decoder_hidden_size: int
    latent_dim: int
    dropout: float
    output_dropout: float
    tied_output: bool
    vocabulary_mode: VocabularyMode
    vocabulary_size: int
    max_context_tokens: int
    max_response_tokens: int
    mmd_base_per_dimension: float
    initial_scale: float
    match_start: float
    match_end: float
    spread_start: float
    spread_end: float
    optimisation: OptimisationConfig


SMALL = Preset(
    name="small",
    embedding_dim=128,
    encoder_hidden_size=128,
    decoder_hidden_size=256,
    latent_dim=64,
    dropout=0.2,
    output_dropout=0.2,
    tied_output=True,
    vocabulary_mode="unigram",
    vocabulary_size=4000,
    max_context_tokens=40,
    max_response_tokens=25,
    mmd_base_per_dimension=2.0,
    initial_scale=0.1,
    match_start=0.2,
    match_end=0.4,
    spread_start=0.5,
    spread_end=0.8,
    optimisation=OptimisationConfig(epochs=8, batch_size=128, learning_rate=2e-3),
)

MEDIUM = replace(
    SMALL,
    name="medium",
    embedding_dim=256,
    encoder_hidden_size=256,
    decoder_hidden_size=512,
    latent_dim=128,
    dropout=0.3,
    output_dropout=0.3,
    vocabulary_size=6000,
    max_context_tokens=40,
    max_response_tokens=30,
    optimisation=OptimisationConfig(epochs=20, batch_size=128, learning_rate=1.5e-3),
)

PAPER = replace(
    MEDIUM,
    name="paper",
    embedding_dim=300,
    encoder_hidden_size=500,
    decoder_hidden_size=500,
    latent_dim=300,
    dropout=0.2,
    output_dropout=0.0,
    tied_output=False,
    vocabulary_mode="word",
    vocabulary_size=20_000,
    max_context_tokens=20,
    max_response_tokens=20,
    mmd_base_per_dimension=4.0,
    optimisation=OptimisationConfig(
        epochs=200,
        batch_size=128,
        learning_rate=1e-3,
        final_learning_rate=1e-5,
        decay="exponential",
        warmup=0.0,
    ),
)
"""The Stochastic WAE paper's dialog system: LSTM of 500 units, latent 300, 20,000 words, Adam
1e-3, batch 128, 200 epochs. Where the paper's code differs from the paper or from this preset:

- cells are layer-normalised there, plain ``nn.LSTM`` here; the decoder has 1000 units there
  (``--set model.decoder.hidden_size=1000``);
- embeddings come from word2vec and are frozen there, are trained from scratch here;
- posts and replies have a vocabulary each, fitted on all splits there; here one, on train only;
- batches keep the file's order and drop the last rows there; here they are shuffled every epoch;
- gradients are clipped element-wise at 5 there, by their global norm here;
- a 20-token reply loses its end-of-sequence there, keeps it here;
- in WED-S both penalties apply in full from the first step there; here MMD comes in once the code
  carries the post and lambda_KL after it, because MMD is otherwise satisfied soonest by scale
  alone: one epoch in, the scale was 0.97 and the mean's variance over the corpus 0.0004.
"""

PRESETS = {preset.name: preset for preset in (SMALL, MEDIUM, PAPER)}


def preset_named(name: str) -> Preset:
    """The preset of a name.

    Raises:
        ConfigError: no such preset; names those there are.
    """
    if name not in PRESETS:
        raise ConfigError(f"--preset {name!r}: allowed are {', '.join(PRESETS)}")
    return PRESETS[name]
