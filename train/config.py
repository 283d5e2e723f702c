"""What a run is: model + objective + data + optimisation, frozen, saved with every checkpoint."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from dialog_service.checkpoint import SamplingDefaults
from dialog_service.models.config import Config, ModelConfig
from dialog_service.vocabulary import VocabularyMode
from train.data.examples import ExampleOptions

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


class ConstantSchedule(Config):
    """The whole weight from the first step to the last."""

    kind: Literal["constant"] = "constant"


class RampSchedule(Config):
    """Zero until ``start``, then linear to the whole weight at ``end``; fractions of the run."""

    kind: Literal["ramp"] = "ramp"
    start: Fraction
    end: Fraction

    @model_validator(mode="after")
    def _ends_after_its_start(self) -> "RampSchedule":
        if self.end <= self.start:
            raise ValueError(f"end {self.end} must be above start {self.start}")
        return self


ScheduleConfig = Annotated[ConstantSchedule | RampSchedule, Field(discriminator="kind")]


class WeightedTerm(Config):
    """A term's weight: beside the summed loss of an example, or beside the mean of a token.

    The W family's papers state weights next to a token mean. ``RunConfig.resolved`` multiplies
    those by the training split's mean target length, so that the code knows nats per example only.
    """

    weight: float = Field(ge=0.0)
    per: Literal["example", "token"]
    schedule: ScheduleConfig = ConstantSchedule()


class MmdTerm(WeightedTerm):
    """MMD between the batch's codes and prior draws, inverse multiquadratic kernels.

    ``base_per_dimension``: C = scale x base x Z; 2 in the WAE reference code, 4 in the code of
    the Stochastic WAE paper.
    """

    kind: Literal["mmd"] = "mmd"
    base_per_dimension: PositiveFloat = 2.0


class KlToOwnMeanTerm(WeightedTerm):
    """KL of the posterior to a unit Gaussian around its own mean (Stochastic WAE, Equation 5)."""

    kind: Literal["kl_to_own_mean"] = "kl_to_own_mean"


TermConfig = Annotated[MmdTerm | KlToOwnMeanTerm, Field(discriminator="kind")]


class ObjectiveConfig(Config):
    """The terms beside reconstruction; each kind at most once."""

    terms: tuple[TermConfig, ...] = ()

    @model_validator(mode="after")
    def _kinds_differ(self) -> "ObjectiveConfig":
        kinds = [term.kind for term in self.terms]
        if len(set(kinds)) != len(kinds):
            raise ValueError(f"a term occurs twice in {kinds}")
        return self


class DataConfig(Config):
    """Which pairs a run sees, and as what tokens."""

    corpus: str = "dailydialog"
    examples: ExampleOptions = ExampleOptions()
    vocabulary_mode: VocabularyMode = "unigram"
    vocabulary_size: PositiveInt


class OptimisationConfig(Config):
    """Adam, its schedule, and when a run ends.

    The learning rate rises over ``warmup``, a fraction of the run, then falls to
    ``final_learning_rate`` as a cosine, or by the W papers' factor an epoch. Training stops when
    ``patience_epochs`` have brought no better checkpoint; 0 waits for ever.
    """

    epochs: PositiveInt
    batch_size: Annotated[int, Field(ge=2)]
    learning_rate: PositiveFloat = 1e-3
    final_learning_rate: PositiveFloat = 1e-5
    decay: Literal["cosine", "exponential"] = "cosine"
    warmup: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.02
    weight_decay: float = Field(default=0.0, ge=0.0)
    clip_norm: PositiveFloat = 5.0
    patience_epochs: NonNegativeInt = 0
    checkpoint_seconds: PositiveFloat = 300.0

    @model_validator(mode="after")
    def _falls(self) -> "OptimisationConfig":
        if self.final_learning_rate > self.learning_rate:
            raise ValueError(
                f"final_learning_rate {self.final_learning_rate} must not be above "
                f"learning_rate {self.learning_rate}"
            )
        return self


class RunConfig(Config):
    """One training run, whole: a variant x a preset x a corpus."""

    variant: str
    preset: str
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    model: ModelConfig
    objective: ObjectiveConfig
    data: DataConfig
    optimisation: OptimisationConfig
    sampling: SamplingDefaults

    @model_validator(mode="after")
    def _terms_fit_the_model(self) -> "RunConfig":
        for term in self.objective.terms:
            if term.kind == "mmd" and self.model.prior.kind == "none":
                raise ValueError("term 'mmd' needs a prior: model.prior.kind is 'none'")
            if term.kind == "kl_to_own_mean" and self.model.posterior.kind != "gaussian":
                raise ValueError(
                    "term 'kl_to_own_mean' needs a scale: model.posterior.kind is "
                    f"{self.model.posterior.kind!r}, allowed is 'gaussian'"
                )
        return self

    @model_validator(mode="after")
    def _model_sees_the_turns_of_the_data(self) -> "RunConfig":
        given, seen = self.data.examples.context_turns, self.model.context_turns
        if given != seen:
            raise ValueError(
                f"data.examples.context_turns is {given} and model.context_turns is {seen}: "
                "set both alike"
            )
        return self

    def resolved(self, *, vocab_size: int, mean_target_tokens: float) -> "RunConfig":
        """The config of the run on its corpus: the vocabulary's size, weights per example.

        Args:
            vocab_size: entries of the fitted vocabulary, at most the requested size.
            mean_target_tokens: mean response length of the training split, end included.
        """
        terms = tuple(
            term.model_copy(update={"weight": term.weight * mean_target_tokens, "per": "example"})
            if term.per == "token"
            else term
            for term in self.objective.terms
        )
        return self.model_copy(
            update={
                "model": self.model.model_copy(update={"vocab_size": vocab_size}),
                "objective": ObjectiveConfig(terms=terms),
            }
        )
