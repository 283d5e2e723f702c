"""What a run is: model + objective + data + optimisation, frozen, saved with every checkpoint."""

from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from dialog_service.checkpoint import SamplingDefaults
from dialog_service.models.config import Config, ModelConfig, Probability
from dialog_service.vocabulary import SPECIAL_IDS, VocabularyMode
from train.data.examples import ExampleOptions


class ConstantSchedule(Config):
    """The whole weight from the first step to the last."""

    kind: Literal["constant"] = "constant"

    @property
    def needed_steps(self) -> float:
        """It is at its end from the first step on."""
        return 0.0

    def in_fractions(self, planned_steps: int) -> "ConstantSchedule":
        """Itself: it has no place in the run."""
        return self


class _PlacedSchedule(Config):
    """A schedule with places in the run, in fractions of it or, as papers state them, in steps.

    ``RunConfig.resolved`` turns steps into fractions, so the code knows fractions alone.
    """

    unit: Literal["fraction", "step"] = "fraction"

    def in_fractions(self, planned_steps: int) -> Self:
        """The same schedule with every place a fraction of the planned steps."""
        if self.unit == "fraction":
            return self
        places = {name: getattr(self, name) for name in self._places()}
        scaled = {name: place / planned_steps for name, place in places.items() if place}
        return self.model_copy(update={**scaled, "unit": "fraction"})

    @property
    def needed_steps(self) -> float:
        """Steps that a run must have for the schedule to come to its end; 0 if that scales."""
        return self._last_place() if self.unit == "step" else 0.0

    def _last_place(self) -> float:
        raise NotImplementedError

    def _places(self) -> tuple[str, ...]:
        raise NotImplementedError


class RampSchedule(_PlacedSchedule):
    """Zero until ``start``, then linear to the whole weight at ``end``."""

    kind: Literal["ramp"] = "ramp"
    start: Annotated[float, Field(ge=0.0)]
    end: Annotated[float, Field(ge=0.0)]

    def _last_place(self) -> float:
        return self.end

    def _places(self) -> tuple[str, ...]:
        return ("start", "end")

    @model_validator(mode="after")
    def _ends_after_its_start(self) -> "RampSchedule":
        if self.end <= self.start:
            raise ValueError(f"end {self.end} must be above start {self.start}")
        return self


class SigmoidSchedule(_PlacedSchedule):
    """logistic((place - center) / width), held from where it stopped.

    It stops at ``stop``, or, where that is None, at the peak of the weighted term: the place
    where its moving average over ``window`` was highest, once it has been lower for ``patience``
    ("peaking annealing", Stochastic WAE, section 3, whose code pins the place).
    """

    kind: Literal["sigmoid"] = "sigmoid"
    center: PositiveFloat
    width: PositiveFloat
    stop: PositiveFloat | None = None
    window: PositiveFloat
    patience: PositiveFloat

    def _last_place(self) -> float:
        # Without a pinned stop, the centre: the latest place at which the term should have peaked.
        return self.center if self.stop is None else self.stop

    def _places(self) -> tuple[str, ...]:
        return ("center", "width", "stop", "window", "patience")


ScheduleConfig = Annotated[
    ConstantSchedule | RampSchedule | SigmoidSchedule, Field(discriminator="kind")
]


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


class KlTerm(WeightedTerm):
    """KL of the posterior to the prior: the rest of the evidence lower bound."""

    kind: Literal["kl"] = "kl"


class CouplingTerm(WeightedTerm):
    """A deterministic companion that the code's map learns from (Coupled-VAE, Equation 4).

    ``reconstruction_weight`` (lambda_r) times the companion's own reconstruction, and
    ``match_weight`` (lambda_m) times the distance of the two maps' values: the rational quadratic
    kernels' sum, negative, with C = scale x base x Z, or the squared Euclidean distance.
    """

    kind: Literal["coupling"] = "coupling"
    weight: float = Field(default=1.0, ge=0.0)
    per: Literal["example", "token"] = "example"
    reconstruction_weight: float = Field(default=1.0, ge=0.0)
    match_weight: float = Field(default=2.0, ge=0.0)
    match: Literal["rq", "euclidean"] = "rq"
    base_per_dimension: PositiveFloat = 2.0


class BagOfWordsTerm(WeightedTerm):
    """The response's words, in no order, guessed from z and the context (Zhao et al., ACL 2017).

    A decoder learns to pass z over, since the words so far tell it more; here there are none.
    """

    kind: Literal["bag_of_words"] = "bag_of_words"
    weight: float = Field(default=1.0, ge=0.0)
    per: Literal["example", "token"] = "example"


TermConfig = Annotated[
    MmdTerm | KlToOwnMeanTerm | KlTerm | CouplingTerm | BagOfWordsTerm,
    Field(discriminator="kind"),
]


class WordDropoutConfig(Config):
    """The share of the decoder's input words that are replaced by the unknown word in training."""

    rate: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    schedule: Annotated[ConstantSchedule | RampSchedule, Field(discriminator="kind")] = (
        ConstantSchedule()
    )


class ObjectiveConfig(Config):
    """The terms beside reconstruction, each kind at most once, and what the decoder is denied.

    ``label_smoothing``: the share of a training target that is spread evenly over all words
    (Szegedy et al., CVPR 2016). Validation and the choice of a checkpoint know none of it.
    """

    terms: tuple[TermConfig, ...] = ()
    label_smoothing: Probability = 0.0
    word_dropout: WordDropoutConfig = WordDropoutConfig()

    @model_validator(mode="after")
    def _kinds_differ(self) -> "ObjectiveConfig":
        kinds = [term.kind for term in self.terms]
        if len(set(kinds)) != len(kinds):
            raise ValueError(f"a term occurs twice in {kinds}")
        return self


class DataConfig(Config):
    """Which pairs a run sees, and as what tokens: of the vocabulary four are no word."""

    corpus: str = "dailydialog"
    examples: ExampleOptions = ExampleOptions()
    vocabulary_mode: VocabularyMode = "unigram"
    vocabulary_size: Annotated[int, Field(gt=len(SPECIAL_IDS))]


class OptimisationConfig(Config):
    """Adam, its schedule, and when a run ends.

    The learning rate rises over ``warmup``, a fraction of the run, then falls to
    ``final_learning_rate`` as a cosine, by the Stochastic WAE code's factor an epoch, or, as in
    the Coupled-VAE code, halved at every thirtieth of the run, in its second half. Training stops
    when ``patience_epochs`` have brought no better checkpoint; 0 waits for ever. ``kept`` says
    which epoch's weights are served: the best by the validation objective, or, to see what training
    on past it does to replies, the last.
    """

    epochs: PositiveInt
    batch_size: Annotated[int, Field(ge=2)]
    learning_rate: PositiveFloat = 1e-3
    final_learning_rate: PositiveFloat = 1e-5
    decay: Literal["cosine", "exponential", "halving"] = "cosine"
    warmup: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.02
    weight_decay: float = Field(default=0.0, ge=0.0)
    clip_norm: PositiveFloat = 5.0
    patience_epochs: NonNegativeInt = 0
    kept: Literal["best", "last"] = "best"
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
            if term.kind in ("mmd", "kl") and self.model.prior.kind == "none":
                raise ValueError(f"term {term.kind!r} needs a prior: model.prior.kind is 'none'")
            if term.kind == "bag_of_words" and not self.model.latent_dim:
                raise ValueError("term 'bag_of_words' needs a z: model.posterior.kind is 'none'")
            needs_scale = term.kind not in ("mmd", "bag_of_words")
            if needs_scale and self.model.posterior.kind != "gaussian":
                raise ValueError(
                    f"term {term.kind!r} needs a scale: model.posterior.kind is "
                    f"{self.model.posterior.kind!r}, allowed is 'gaussian'"
                )
        return self

    @model_validator(mode="after")
    def _a_learnt_prior_is_taught(self) -> "RunConfig":
        taught = any(term.kind == "kl" and term.weight > 0 for term in self.objective.terms)
        if self.model.prior.kind == "conditional_gaussian" and not taught:
            raise ValueError(
                "model.prior.kind 'conditional_gaussian' needs the term 'kl' with a weight above "
                "0: nothing else teaches the prior, and replies are drawn from it"
            )
        return self

    @model_validator(mode="after")
    def _matcher_comes_last(self) -> "RunConfig":
        if self.model.matcher is not None:
            raise ValueError(
                "model.matcher is not trained with the model: python -m train.matcher fits one to "
                "the checkpoint"
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

    def planned_steps(self, training_pairs: int) -> int:
        """Steps of the whole run: whole batches of so many pairs, epoch after epoch."""
        return training_pairs // self.optimisation.batch_size * self.optimisation.epochs

    def resolved(
        self, *, vocab_size: int, mean_target_tokens: float, planned_steps: int
    ) -> "RunConfig":
        """The config of the run on its corpus: weights per example, schedules in fractions.

        Args:
            vocab_size: entries of the fitted vocabulary, at most the requested size.
            mean_target_tokens: mean response length of the training split, end included.
            planned_steps: of the whole run.
        """
        dropout = self.objective.word_dropout
        terms = tuple(
            term.model_copy(
                update={
                    "weight": term.weight * (mean_target_tokens if term.per == "token" else 1.0),
                    "per": "example",
                    "schedule": term.schedule.in_fractions(planned_steps),
                }
            )
            for term in self.objective.terms
        )
        word_dropout = dropout.model_copy(
            update={"schedule": dropout.schedule.in_fractions(planned_steps)}
        )
        objective = self.objective.model_copy(update={"terms": terms, "word_dropout": word_dropout})
        model = self.model.model_copy(update={"vocab_size": vocab_size})
        return self.model_copy(update={"model": model, "objective": objective})
