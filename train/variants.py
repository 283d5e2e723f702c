"""One function per published model: its parent plus the difference. Sizes come from the preset.

Weights are the papers', stated per token; ``RunConfig.resolved`` converts them.
"""

from collections.abc import Callable

from dialog_service.checkpoint import SamplingDefaults
from dialog_service.models.config import (
    DiracPosterior,
    GaussianPosterior,
    LstmDecoder,
    LstmEncoder,
    ModelConfig,
    NoPrior,
    StandardNormalPrior,
)
from train.config import (
    DataConfig,
    KlToOwnMeanTerm,
    MmdTerm,
    ObjectiveConfig,
    RampSchedule,
    RunConfig,
)
from train.presets import Preset

Variant = Callable[[Preset], RunConfig]


def ded(preset: Preset) -> RunConfig:
    """DED, the deterministic encoder-decoder: z is a point, nothing is asked of it.

    Stochastic WAE (Bahuleyan et al., NAACL 2019), section 3.2 and Equation 1.
    """
    return RunConfig(
        variant="ded",
        preset=preset.name,
        model=_backbone(preset),
        objective=ObjectiveConfig(),
        data=DataConfig(
            vocabulary_mode=preset.vocabulary_mode, vocabulary_size=preset.vocabulary_size
        ),
        optimisation=preset.optimisation,
        sampling=SamplingDefaults(temperature=0.8, top_p=0.9),
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
    posterior = GaussianPosterior(latent_dim=preset.latent_dim, initial_scale=preset.initial_scale)
    (match_prior,) = parent.objective.terms
    match_later = match_prior.model_copy(
        update={"schedule": RampSchedule(start=preset.match_start, end=preset.match_end)}
    )
    keep_spread = KlToOwnMeanTerm(
        weight=0.01,
        per="token",
        schedule=RampSchedule(start=preset.spread_start, end=preset.spread_end),
    )
    return parent.model_copy(
        update={
            "variant": "wed_s",
            "model": parent.model.model_copy(update={"posterior": posterior}),
            "objective": ObjectiveConfig(terms=(match_later, keep_spread)),
            "sampling": SamplingDefaults(temperature=0.7, top_p=0.9),
        }
    )


def _backbone(preset: Preset) -> ModelConfig:
    return ModelConfig(
        vocab_size=preset.vocabulary_size,
        embedding_dim=preset.embedding_dim,
        max_context_tokens=preset.max_context_tokens,
        max_response_tokens=preset.max_response_tokens,
        encoder=LstmEncoder(hidden_size=preset.encoder_hidden_size, dropout=preset.dropout),
        posterior=DiracPosterior(latent_dim=preset.latent_dim),
        prior=NoPrior(),
        decoder=LstmDecoder(
            hidden_size=preset.decoder_hidden_size,
            dropout=preset.dropout,
            output_dropout=preset.output_dropout,
            tied_output=preset.tied_output,
        ),
    )


VARIANTS: dict[str, Variant] = {"ded": ded, "wed_d": wed_d, "wed_s": wed_s}
