"""One function per model: its parent plus the difference. Sizes come from the preset.

Weights are the papers'; those stated per token are converted by ``RunConfig.resolved``.
"""

from collections.abc import Callable
from dataclasses import replace

from dialog_service.checkpoint import SamplingDefaults
from dialog_service.errors import ConfigError
from dialog_service.models.config import (
    ConditionalGaussianPrior,
    DiracPosterior,
    FirstAndEveryStepBridge,
    GaussianPosterior,
    GruDecoder,
    GruEncoder,
    LstmDecoder,
    LstmEncoder,
    ModelConfig,
    NoPosterior,
    NoPrior,
    StandardNormalPrior,
)
from train.config import (
    BagOfWordsTerm,
    CouplingTerm,
    DataConfig,
    KlTerm,
    KlToOwnMeanTerm,
    MmdTerm,
    ObjectiveConfig,
    RunConfig,
)
from train.data.examples import ExampleOptions
from train.presets import Preset, Sizes

Variant = Callable[[Preset], RunConfig]

CONTEXT_TURNS = 3


def ded(preset: Preset) -> RunConfig:
    """DED, the deterministic encoder-decoder: z is a point, nothing is asked of it.

    Stochastic WAE (Bahuleyan et al., NAACL 2019), section 3.2 and Equation 1.
    """
    sizes = preset.wasserstein
    return RunConfig(
        variant="ded",
        preset=preset.name,
        model=ModelConfig(
            vocab_size=sizes.vocabulary_size,
            embedding_dim=sizes.embedding_dim,
            max_context_tokens=sizes.max_context_tokens,
            max_response_tokens=sizes.max_response_tokens,
            encoder=LstmEncoder(hidden_size=sizes.encoder_hidden_size, dropout=sizes.dropout),
            posterior=DiracPosterior(
                latent_dim=sizes.latent_dim, initial_deviation=preset.initial_deviation
            ),
            prior=NoPrior(),
            decoder=LstmDecoder(
                hidden_size=sizes.decoder_hidden_size,
                dropout=sizes.dropout,
                output_dropout=sizes.output_dropout,
                tied_output=preset.tied_output,
            ),
        ),
        objective=ObjectiveConfig(),
        data=_data(sizes),
        optimisation=sizes.optimisation,
        sampling=SamplingDefaults(temperature=0.8, top_p=0.9),
    )


def ved(preset: Preset) -> RunConfig:
    """VED: a Gaussian code of the post, its KL to N(0, I) annealed, words withheld.

    Stochastic WAE, Equation 2 and section 3. The KL's weight is one beside the mean of a token.
    """
    parent = ded(preset)
    return parent.model_copy(
        update={
            "variant": "ved",
            "model": parent.model.model_copy(
                update={"posterior": _scaled(preset), "prior": StandardNormalPrior()}
            ),
            "objective": ObjectiveConfig(
                terms=(KlTerm(weight=1.0, per="token", schedule=preset.annealing),),
                word_dropout=preset.word_dropout,
            ),
            "sampling": SamplingDefaults(temperature=0.7, top_p=0.9),
        }
    )


def wed_d(preset: Preset) -> RunConfig:
    """WED-D: DED whose codes, taken together, should look like N(0, I).

    Stochastic WAE, Equation 4, lambda_WAE 10 (section 3.1).
    """
    parent = ded(preset)
    match_prior = MmdTerm(
        weight=10.0, per="token", base_per_dimension=preset.mmd_base_per_dimension
    )
    return parent.model_copy(
        update={
            "variant": "wed_d",
            "model": parent.model.model_copy(update={"prior": StandardNormalPrior()}),
            "objective": ObjectiveConfig(terms=(match_prior,)),
        }
    )


def wed_s(preset: Preset) -> RunConfig:
    """WED-S: WED-D with a Gaussian code whose deviation is drawn towards one.

    Stochastic WAE, Equation 5, lambda_KL 0.01 (section 3.1). Ours: both penalties come in over
    the run, or scale alone satisfies the first before the mean has learnt to carry the post.
    """
    parent = wed_d(preset)
    (match_prior,) = parent.objective.terms
    match_later = match_prior.model_copy(update={"schedule": preset.match})
    keep_spread = KlToOwnMeanTerm(weight=0.01, per="token", schedule=preset.spread)
    return parent.model_copy(
        update={
            "variant": "wed_s",
            "model": parent.model.model_copy(update={"posterior": _scaled(preset)}),
            "objective": ObjectiveConfig(terms=(match_later, keep_spread)),
            "sampling": SamplingDefaults(temperature=0.7, top_p=0.9),
        }
    )


def gru(preset: Preset) -> RunConfig:
    """The GRU encoder-decoder: the context's state is the signal, there is no z.

    Coupled-VAE (Wu et al., ACL 2020), section 5.10 and appendix I.
    """
    sizes = preset.conditional
    return RunConfig(
        variant="gru",
        preset=preset.name,
        model=ModelConfig(
            vocab_size=sizes.vocabulary_size,
            embedding_dim=sizes.embedding_dim,
            max_context_tokens=sizes.max_context_tokens,
            max_response_tokens=sizes.max_response_tokens,
            encoder=GruEncoder(hidden_size=sizes.encoder_hidden_size, dropout=sizes.dropout),
            posterior=NoPosterior(),
            prior=NoPrior(),
            bridge=FirstAndEveryStepBridge(),
            decoder=GruDecoder(
                hidden_size=sizes.decoder_hidden_size,
                projection_size=sizes.embedding_dim,
                dropout=sizes.dropout,
                output_dropout=sizes.output_dropout,
            ),
        ),
        objective=ObjectiveConfig(),
        data=_data(sizes),
        optimisation=sizes.optimisation,
        sampling=SamplingDefaults(temperature=0.8, top_p=0.9),
    )


def cvae(preset: Preset) -> RunConfig:
    """CVAE: GRU with a z inferred from post and reply, drawn from the post alone to reply.

    Coupled-VAE, Equation 15: the evidence lower bound, its KL coming in linearly (appendix C).
    """
    parent = gru(preset)
    posterior = GaussianPosterior(
        latent_dim=preset.conditional.latent_dim,
        sees="context_and_response",
        initial_scale=preset.conditional_initial_scale,
    )
    return parent.model_copy(
        update={
            "variant": "cvae",
            "model": parent.model.model_copy(
                update={"posterior": posterior, "prior": ConditionalGaussianPrior()}
            ),
            "objective": ObjectiveConfig(
                terms=(KlTerm(weight=1.0, per="example", schedule=preset.kl_ramp),)
            ),
            "sampling": SamplingDefaults(temperature=0.7, top_p=0.9),
        }
    )


def coupled_cvae(preset: Preset) -> RunConfig:
    """Coupled-CVAE: CVAE whose map of z learns from a deterministic companion's.

    Coupled-VAE, Equation 4; lambda_r 1, lambda_m 2 (its code's default for dialog).
    """
    parent = cvae(preset)
    terms = (*parent.objective.terms, CouplingTerm())
    return parent.model_copy(
        update={"variant": "coupled_cvae", "objective": ObjectiveConfig(terms=terms)}
    )


def bow_cvae(preset: Preset) -> RunConfig:
    """Ours: a CVAE over several turns whose z is also asked for the response's words.

    To CVAE it adds LSTMs with a vocabulary layer tied to the embeddings, three turns of context,
    the bag-of-words loss (Zhao et al., ACL 2017), and a training set without repeats.
    ``python -m train.experiments ablation`` takes one away at a time.

    Raises:
        ConfigError: the preset has no sizes for it, being that of the papers' systems.
    """
    sizes = preset.contextual
    if sizes is None:
        raise ConfigError(f"--preset {preset.name} has the papers' systems alone, not bow_cvae")
    parent = cvae(replace(preset, conditional=sizes))
    model = parent.model.model_copy(
        update={
            "context_turns": CONTEXT_TURNS,
            "encoder": LstmEncoder(hidden_size=sizes.encoder_hidden_size, dropout=sizes.dropout),
            "decoder": LstmDecoder(
                hidden_size=sizes.decoder_hidden_size,
                dropout=sizes.dropout,
                output_dropout=sizes.output_dropout,
                tied_output=True,
            ),
        }
    )
    examples = ExampleOptions(context_turns=CONTEXT_TURNS, keep_repeats=False)
    return parent.model_copy(
        update={
            "variant": "bow_cvae",
            "model": model,
            "objective": ObjectiveConfig(terms=(*parent.objective.terms, BagOfWordsTerm())),
            "data": parent.data.model_copy(update={"examples": examples}),
        }
    )


def _scaled(preset: Preset) -> GaussianPosterior:
    return GaussianPosterior(
        latent_dim=preset.wasserstein.latent_dim,
        initial_scale=preset.initial_scale,
        initial_deviation=preset.initial_deviation,
    )


def _data(sizes: Sizes) -> DataConfig:
    return DataConfig(vocabulary_mode=sizes.vocabulary_mode, vocabulary_size=sizes.vocabulary_size)


VARIANTS: dict[str, Variant] = {
    "ded": ded,
    "ved": ved,
    "wed_d": wed_d,
    "wed_s": wed_s,
    "gru": gru,
    "cvae": cvae,
    "coupled_cvae": coupled_cvae,
    "bow_cvae": bow_cvae,
}
