"""How large and how long: sizes of a run, each its parent plus the difference."""

from dataclasses import dataclass, replace

from dialog_service.errors import ConfigError
from dialog_service.vocabulary import VocabularyMode
from train.config import (
    OptimisationConfig,
    RampSchedule,
    ScheduleConfig,
    SigmoidSchedule,
    WordDropoutConfig,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """The sizes of one family of models, its text and its optimisation."""

    embedding_dim: int
    encoder_hidden_size: int
    decoder_hidden_size: int
    latent_dim: int
    dropout: float
    output_dropout: float
    vocabulary_mode: VocabularyMode
    vocabulary_size: int
    max_context_tokens: int
    max_response_tokens: int
    optimisation: OptimisationConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """Everything about a run that no variant changes.

    ``wasserstein`` sizes DED, VED and WED, ``conditional`` GRU, CVAE and Coupled-CVAE,
    ``contextual`` our own, which sees several turns; None where there is none. Then the schedules:
    of MMD, of the spread term beside it, of VED's KL and word dropout, of CVAE's KL. The two
    initial scales are those of the first family's posterior and of the others'; the initial
    deviation over contexts is of the first family's codes.
    """

    name: str
    wasserstein: Sizes
    conditional: Sizes
    contextual: Sizes | None
    tied_output: bool
    mmd_base_per_dimension: float
    initial_deviation: float
    initial_scale: float
    conditional_initial_scale: float
    match: ScheduleConfig
    spread: ScheduleConfig
    annealing: SigmoidSchedule
    word_dropout: WordDropoutConfig
    kl_ramp: RampSchedule


_SMALL = Sizes(
    embedding_dim=128,
    encoder_hidden_size=128,
    decoder_hidden_size=256,
    latent_dim=64,
    dropout=0.2,
    output_dropout=0.2,
    vocabulary_mode="unigram",
    vocabulary_size=4000,
    max_context_tokens=40,
    max_response_tokens=25,
    optimisation=OptimisationConfig(epochs=8, batch_size=128, learning_rate=2e-3),
)
_CONTEXTUAL = replace(_SMALL, latent_dim=32, max_context_tokens=60, max_response_tokens=30)

SMALL = Preset(
    name="small",
    wasserstein=_SMALL,
    conditional=replace(
        _CONTEXTUAL,
        max_response_tokens=60,
        optimisation=_SMALL.optimisation.model_copy(update={"clip_norm": 30.0}),
    ),
    contextual=_CONTEXTUAL,
    tied_output=True,
    mmd_base_per_dimension=2.0,
    # Torch's own start, .1, is no more than the noise: MMD then finds it quicker to widen the
    # scale than to spread the means, and z goes mute.
    initial_deviation=1.0,
    initial_scale=0.1,
    conditional_initial_scale=0.1,
    match=RampSchedule(start=0.2, end=0.4),
    spread=RampSchedule(start=0.5, end=0.8),
    annealing=SigmoidSchedule(center=0.7, width=0.07, window=0.02, patience=0.03),
    word_dropout=WordDropoutConfig(rate=0.5, schedule=RampSchedule(start=0.1, end=0.6)),
    # The paper's places as fractions, .03 to .7, leave nothing in z after 1,500 steps: its mean
    # runs away before the KL is in, and is crushed before the decoder has learnt to read it.
    kl_ramp=RampSchedule(start=0.25, end=0.9),
)

MEDIUM = replace(
    SMALL,
    name="medium",
    wasserstein=replace(
        SMALL.wasserstein,
        embedding_dim=256,
        encoder_hidden_size=256,
        decoder_hidden_size=512,
        latent_dim=128,
        output_dropout=0.0,
        vocabulary_size=6000,
        max_response_tokens=30,
        # What is best by the likelihood of responses comes after a quarter of it, and says the same
        # to everything: replies get better to the end.
        optimisation=OptimisationConfig(
            epochs=40, batch_size=128, learning_rate=1.5e-3, kept="last"
        ),
    ),
    conditional=replace(
        SMALL.conditional,
        embedding_dim=200,
        decoder_hidden_size=384,
        vocabulary_size=6000,
        optimisation=OptimisationConfig(
            epochs=20, batch_size=128, learning_rate=1.5e-3, clip_norm=30.0
        ),
    ),
    contextual=replace(
        _CONTEXTUAL,
        embedding_dim=256,
        encoder_hidden_size=256,
        decoder_hidden_size=512,
        dropout=0.3,
        output_dropout=0.3,
        vocabulary_size=6000,
        max_context_tokens=80,
        optimisation=OptimisationConfig(epochs=20, batch_size=128, learning_rate=1.5e-3),
    ),
)

_LARGEST = OptimisationConfig(epochs=40, batch_size=128, learning_rate=1e-3)
BEST = replace(
    MEDIUM,
    name="best",
    wasserstein=replace(
        MEDIUM.wasserstein,
        embedding_dim=512,
        encoder_hidden_size=512,
        decoder_hidden_size=1024,
        dropout=0.3,
        output_dropout=0.3,
        vocabulary_size=12_000,
        max_context_tokens=60,
        max_response_tokens=40,
        optimisation=_LARGEST,
    ),
    conditional=replace(
        MEDIUM.conditional,
        embedding_dim=512,
        encoder_hidden_size=512,
        decoder_hidden_size=1024,
        dropout=0.3,
        output_dropout=0.3,
        vocabulary_size=12_000,
        optimisation=_LARGEST.model_copy(update={"clip_norm": 30.0}),
    ),
    contextual=replace(
        _CONTEXTUAL,
        dropout=0.3,
        output_dropout=0.3,
        embedding_dim=512,
        encoder_hidden_size=512,
        decoder_hidden_size=1024,
        vocabulary_size=12_000,
        max_context_tokens=120,
        max_response_tokens=40,
        optimisation=_LARGEST,
    ),
)
"""For a GPU: 18M to 26M parameters, by the variant."""

PAPER = replace(
    MEDIUM,
    name="paper",
    wasserstein=Sizes(
        embedding_dim=300,
        encoder_hidden_size=500,
        decoder_hidden_size=500,
        latent_dim=300,
        dropout=0.2,
        output_dropout=0.0,
        vocabulary_mode="word",
        vocabulary_size=20_000,
        max_context_tokens=20,
        max_response_tokens=20,
        optimisation=OptimisationConfig(
            epochs=200,
            batch_size=128,
            learning_rate=1e-3,
            final_learning_rate=1e-5,
            decay="exponential",
            warmup=0.0,
        ),
    ),
    conditional=Sizes(
        embedding_dim=200,
        encoder_hidden_size=128,
        decoder_hidden_size=256,
        latent_dim=32,
        dropout=0.2,
        output_dropout=0.2,
        vocabulary_mode="word",
        vocabulary_size=13_000,
        max_context_tokens=200,
        max_response_tokens=200,
        optimisation=OptimisationConfig(
            epochs=11,
            batch_size=32,
            learning_rate=1e-3,
            final_learning_rate=1e-8,
            decay="halving",
            warmup=0.0,
            clip_norm=30.0,
        ),
    ),
    contextual=None,
    tied_output=False,
    mmd_base_per_dimension=4.0,
    conditional_initial_scale=1.0,
    annealing=SigmoidSchedule(
        unit="step", center=4500, width=500, stop=2300, window=100, patience=200
    ),
    word_dropout=WordDropoutConfig(
        rate=0.5, schedule=RampSchedule(unit="step", start=297, end=6237)
    ),
    kl_ramp=RampSchedule(unit="step", start=2000, end=42_000),
)
"""The papers' systems. Stochastic WAE: LSTM of 500 units, latent 300, 20,000 words, Adam 1e-3,
batch 128, 200 epochs. Coupled-VAE: GRU of 128 units per direction, decoder 256, latent 32, Adam
1e-3, batch 32, 60,000 steps. Where the first paper's code differs from the paper or from this
preset:

- cells are layer-normalised there, plain ``nn.LSTM`` here; the decoder has 1000 units there
  (``--set model.decoder.hidden_size=1000``);
- embeddings come from word2vec and are frozen there, are trained from scratch here,
  from a deviation of one;
- posts and replies have a vocabulary each, fitted on all splits there; here one, on train only;
- batches keep the file's order and drop the last rows there; here they are shuffled every epoch;
- gradients are clipped element-wise at 5 there, by their global norm here;
- a 20-token reply loses its end-of-sequence there, keeps it here;
- VED withholds words at a rate that rises by .05 an epoch of 594 steps there, evenly to the same
  mean here, and writes padding in their place there, the unknown word here;
- codes start at a deviation of about one over posts here, where plain cells would make it .1; what
  the layer-normalised cells there make of it was not measured;
- log scales start at 0 or so there and are free; here at ln .1, whatever the post, in VED and WED-S
  (0 in CVAE), and are clamped to [-8, 4];
- in WED-S both penalties apply in full from the first step there; here MMD comes in once the code
  carries the post and lambda_KL after it, because MMD is otherwise satisfied soonest by scale
  alone: one epoch in, the scale was 0.97 and the mean's variance over the corpus 0.0004.

And the second's:

- words that occur five times or more are kept there (13,000), the 13,000 most frequent here;
- the learning rate halves every 2,000 steps above 30,000 of 60,000 there, at the same fractions of
  the run here; training ends with the epoch that passes step 60,000 there, after 11 epochs here;
- checkpoints are chosen by an importance-sampled likelihood every 1,000 steps there, by the
  evidence lower bound every epoch here.
"""

PRESETS = {preset.name: preset for preset in (SMALL, MEDIUM, BEST, PAPER)}


def preset_named(name: str) -> Preset:
    """The preset of a name.

    Raises:
        ConfigError: no such preset; names those there are.
    """
    if name not in PRESETS:
        raise ConfigError(f"--preset {name!r}: allowed are {', '.join(PRESETS)}")
    return PRESETS[name]
