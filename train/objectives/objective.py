"""The objective: reconstruction plus the terms of a config, each a function of one step.

A term is ``term(model, batch, output, step) -> Tensor``, () nats per example before its weight.
It may own parameters (they are trained, and never reach a served checkpoint).
"""

from collections.abc import Callable
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.distributions import kl_divergence

from dialog_service.models.affine import RowsLinear
from dialog_service.models.distributions import DiagonalGaussian, divergence_from_unit_scale
from dialog_service.models.seq2seq import PAD_ID, Batch, LatentSeq2Seq, ModelOutput
from train.config import (
    BagOfWordsTerm,
    CouplingTerm,
    KlTerm,
    KlToOwnMeanTerm,
    MmdTerm,
    ObjectiveConfig,
    TermConfig,
)
from train.objectives.coupling import (
    Companion,
    CompanionLosses,
    rational_quadratic,
    squared_euclidean,
)
from train.objectives.mmd import inverse_multiquadratic, mmd
from train.objectives.reconstruction import reconstruction
from train.objectives.schedules import Schedule, build_schedule
from train.objectives.word_dropout import WordDropout


def alone(local: Tensor) -> Tensor:
    """The rows of every rank where there is one: the rows themselves."""
    return local


class Step(NamedTuple):
    """Where a run stands, and how to see the other ranks' rows.

    ``progress`` is steps done / steps planned; ``gather`` maps this rank's (B, Z) rows to those
    of all ranks, with gradients.
    """

    progress: float
    gather: Callable[[Tensor], Tensor] = alone


class Term(nn.Module):
    """What is added to reconstruction. ``judges_model``: whether it tells how good a model is.

    One that trains parts of its own does not, so it has no say in which checkpoint is the best.
    """

    judges_model = True


class Mmd(Term):
    """MMD of the codes of the whole batch, over all ranks, to as many fresh prior draws."""

    def __init__(self, config: MmdTerm) -> None:
        """Keep the kernel's base per dimension."""
        super().__init__()
        self.base_per_dimension = config.base_per_dimension

    def forward(
        self, model: LatentSeq2Seq, batch: Batch, output: ModelOutput, step: Step
    ) -> Tensor:
        """() dimensionless."""
        assert output.prior is not None  # RunConfig refuses the term without a prior
        kernel = inverse_multiquadratic(self.base_per_dimension * output.z.shape[1])
        with torch.autocast(output.z.device.type, enabled=False):
            prior_z = output.prior.sample()
            return mmd(step.gather(output.z.float()), step.gather(prior_z), kernel)


class KlToOwnMean(Term):
    """Mean over the batch of KL( N(loc, scale^2) || N(loc, I) )."""

    def __init__(self, config: KlToOwnMeanTerm) -> None:
        """Nothing to keep: the term has no parameter."""
        super().__init__()

    def forward(
        self, model: LatentSeq2Seq, batch: Batch, output: ModelOutput, step: Step
    ) -> Tensor:
        """() nats per example."""
        assert isinstance(output.posterior, DiagonalGaussian)  # RunConfig refuses others
        return divergence_from_unit_scale(output.posterior).mean()


class Kl(Term):
    """Mean over the batch of KL(posterior || prior), exact where torch knows the pair."""

    def __init__(self, config: KlTerm) -> None:
        """Nothing to keep: the term has no parameter."""
        super().__init__()

    def forward(
        self, model: LatentSeq2Seq, batch: Batch, output: ModelOutput, step: Step
    ) -> Tensor:
        """() nats per example."""
        assert output.prior is not None  # RunConfig refuses the term without a prior
        nats: Tensor = kl_divergence(output.posterior, output.prior)  # (B,)
        return nats.mean()


class Coupling(Term):
    """lambda_r rec^c + lambda_m match: the companion's loss, and how far the model is from it.

    Coupled-VAE (2020), Equation 4. The match compares h = MLP(z) with the companion's, which it
    does not move; the paper's code compares the signals instead, and so lets a gradient reach the
    context's share on one side.
    """

    judges_model = False

    def __init__(self, config: CouplingTerm, model: LatentSeq2Seq) -> None:
        """Build a companion of the model's shapes."""
        super().__init__()
        self.config = config
        self.base = config.base_per_dimension * model.config.latent_dim
        self.companion = Companion(model, model.config)

    def forward(
        self, model: LatentSeq2Seq, batch: Batch, output: ModelOutput, step: Step
    ) -> Tensor:
        """() nats per example, plus the dimensionless match."""
        losses: CompanionLosses = self.companion(model, batch, output)
        match = self._distance(losses.mapped, losses.companion_mapped.detach()).mean()
        return (
            self.config.reconstruction_weight * losses.reconstruction
            + self.config.match_weight * match
        )

    def _distance(self, mapped: Tensor, companion_mapped: Tensor) -> Tensor:
        match self.config.match:
            case "rq":
                return rational_quadratic(mapped, companion_mapped, self.base)
            case "euclidean":
                return squared_euclidean(mapped, companion_mapped)


class BagOfWords(Term):
    """-log p of every word of the response under one distribution over words, given z and context.

    Zhao, Zhao, Eskenazi: Learning Discourse-level Diversity for Neural Dialog Models using
    Conditional Variational Autoencoders, ACL 2017, section 3.3. The end of the sequence counts as
    a word, as in their code.
    """

    judges_model = False

    def __init__(self, config: BagOfWordsTerm, model: LatentSeq2Seq) -> None:
        """Build a perceptron Z + C -> E -> V of the model's sizes."""
        super().__init__()
        sizes = model.config
        self.hidden = RowsLinear(sizes.latent_dim + model.encoder.output_size, sizes.embedding_dim)
        self.output = RowsLinear(sizes.embedding_dim, sizes.vocab_size)

    def forward(
        self, model: LatentSeq2Seq, batch: Batch, output: ModelOutput, step: Step
    ) -> Tensor:
        """() nats per example."""
        context = output.inference.context
        told = torch.cat([output.z.to(context.dtype), context], dim=1)  # (B, Z + C)
        scores = self.output(self.hidden(told).tanh()).float()  # (B, V)
        nats = -scores.log_softmax(1).gather(1, batch.targets)  # (B, T)
        summed: Tensor = nats.where(batch.targets != PAD_ID, 0.0).sum()
        return summed / len(nats)


def build_term(config: TermConfig, model: LatentSeq2Seq) -> Term:
    """The term of a config: the one place that reads ``term.kind``."""
    match config.kind:
        case "mmd":
            return Mmd(config)
        case "kl_to_own_mean":
            return KlToOwnMean(config)
        case "kl":
            return Kl(config)
        case "coupling":
            return Coupling(config, model)
        case "bag_of_words":
            return BagOfWords(config, model)


class Losses(NamedTuple):
    """() tensors in nats per example: what is minimised, and every part of it unweighted.

    ``judgement`` is the total less the terms that train parts which are not served. In training
    ``reconstruction`` is against smoothed targets where the objective smooths them.
    """

    total: Tensor
    judgement: Tensor
    reconstruction: Tensor
    terms: dict[str, Tensor]


class Objective(nn.Module):
    """rec + sum over terms of weight x schedule(progress) x term."""

    def __init__(self, config: ObjectiveConfig, model: LatentSeq2Seq) -> None:
        """Build every term that weighs anything, to the model's shapes where it has parts.

        Raises:
            ValueError: a weight is still stated per token; ``RunConfig.resolved`` converts it.
        """
        super().__init__()
        terms = [term for term in config.terms if term.weight > 0]
        for term in terms:
            if term.per != "example":
                raise ValueError(f"term {term.kind!r}: the weight is not in nats per example")
        self._label_smoothing = config.label_smoothing
        self._weights: dict[str, float] = {term.kind: term.weight for term in terms}
        self.terms = nn.ModuleDict({term.kind: build_term(term, model) for term in terms})
        self.schedules = nn.ModuleDict({term.kind: build_schedule(term.schedule) for term in terms})

    def forward(
        self, model: LatentSeq2Seq, batch: Batch, output: ModelOutput, step: Step
    ) -> Losses:
        """The loss of one batch and its parts."""
        smoothing = self._label_smoothing if self.training else 0.0
        rec = reconstruction(model.decoder, batch, output.features, label_smoothing=smoothing)
        values = {kind: term(model, batch, output, step) for kind, term in self.terms.items()}
        weighted = {kind: self._weighted(kind, value, step) for kind, value in values.items()}
        judging = [value for kind, value in weighted.items() if self.terms[kind].judges_model]
        return Losses(
            total=sum(weighted.values(), rec),
            judgement=sum(judging, rec),
            reconstruction=rec,
            terms=values,
        )

    @property
    def is_settled(self) -> bool:
        """Whether every weight that is not planned has come to rest."""
        return all(cast(Schedule, schedule).is_settled for schedule in self.schedules.values())

    def _weighted(self, kind: str, value: Tensor, step: Step) -> Tensor:
        """A term at its weight of this step; a schedule that learns from it sees it."""
        schedule = cast(Schedule, self.schedules[kind])
        scaled: Tensor = schedule(step.progress) * value
        if self.training:
            schedule.observe(scaled.detach(), step.progress)
        return self._weights[kind] * scaled


class TrainingPass(nn.Module):
    """Model and objective as one module: what a distributed wrapper sees, so it sees all."""

    def __init__(self, model: LatentSeq2Seq, config: ObjectiveConfig) -> None:
        """Hold the model and build its objective."""
        super().__init__()
        self.model = model
        self.objective = Objective(config, model)
        self.word_dropout = WordDropout(config.word_dropout)

    def forward(self, batch: Batch, step: Step) -> Losses:
        """One pass over one batch."""
        return self.measured(batch, step)[0]

    def measured(self, batch: Batch, step: Step) -> tuple[Losses, ModelOutput]:
        """The same with what the model made of the batch, for validation."""
        batch = batch._replace(inputs=self.word_dropout(batch.inputs, step.progress))
        output: ModelOutput = self.model(batch)
        losses: Losses = self.objective(self.model, batch, output, step)
        return losses, output
