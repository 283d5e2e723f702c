"""The objective: reconstruction plus the terms of a config, each a function of one step.

A term is ``term(model, batch, output, step) -> Tensor``, () nats per example before its weight.
It may own parameters (they are trained, and never reach a served checkpoint).
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dialog_service.models.distributions import DiagonalGaussian, divergence_from_unit_scale
from dialog_service.models.seq2seq import Batch, LatentSeq2Seq, ModelOutput
from train.config import KlToOwnMeanTerm, MmdTerm, ObjectiveConfig, TermConfig
from train.objectives.mmd import inverse_multiquadratic, mmd
from train.objectives.reconstruction import reconstruction
from train.objectives.schedules import schedule_factor


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


class Mmd(nn.Module):
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


class KlToOwnMean(nn.Module):
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


Term = Mmd | KlToOwnMean


def build_term(config: TermConfig) -> Term:
    """The term of a config: the one place that reads ``term.kind``."""
    match config.kind:
        case "mmd":
            return Mmd(config)
        case "kl_to_own_mean":
            return KlToOwnMean(config)


class Losses(NamedTuple):
    """() tensors in nats per example: what is minimised, and every part of it unweighted."""

    total: Tensor
    reconstruction: Tensor
    terms: dict[str, Tensor]


class Objective(nn.Module):
    """rec + sum over terms of weight x schedule(progress) x term."""

    def __init__(self, config: ObjectiveConfig) -> None:
        """Build every term.

        Raises:
            ValueError: a weight is still stated per token; ``RunConfig.resolved`` converts it.
        """
        super().__init__()
        for term in config.terms:
            if term.per != "example":
                raise ValueError(f"term {term.kind!r}: the weight is not in nats per example")
        self.config = config
        self.terms = nn.ModuleDict({term.kind: build_term(term) for term in config.terms})

    def forward(
        self, model: LatentSeq2Seq, batch: Batch, output: ModelOutput, step: Step
    ) -> Losses:
        """The loss of one batch and its parts."""
        rec = reconstruction(model.decoder, batch, output)
        values = {kind: term(model, batch, output, step) for kind, term in self.terms.items()}
        weighted = [
            term.weight * schedule_factor(term.schedule, step.progress) * values[term.kind]
            for term in self.config.terms
        ]
        return Losses(total=sum(weighted, rec), reconstruction=rec, terms=values)


class TrainingPass(nn.Module):
    """Model and objective as one module: what a distributed wrapper sees, so it sees all."""

    def __init__(self, model: LatentSeq2Seq, objective: Objective) -> None:
        """Hold both."""
        super().__init__()
        self.model = model
        self.objective = objective

    def forward(self, batch: Batch, step: Step) -> Losses:
        """One pass over one batch."""
        return self.measured(batch, step)[0]

    def measured(self, batch: Batch, step: Step) -> tuple[Losses, ModelOutput]:
        """The same with what the model made of the batch, for validation."""
        output: ModelOutput = self.model(batch)
        losses: Losses = self.objective(self.model, batch, output, step)
        return losses, output
