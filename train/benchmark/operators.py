"""The operators of one training step, each alone: forward and backward on a batch's own values.

What an operator is given stands in for what the operators before it made, detached, so that its
backward pass ends there; together they do the work of a step, as nearly as parts do.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from dialog_service.models.seq2seq import Batch, LatentSeq2Seq, ModelOutput
from train.benchmark.workbench import PROGRESS, Workbench
from train.objectives.objective import Step
from train.objectives.reconstruction import reconstruction
from train.optimiser import build_optimiser, clip


def _nothing() -> None:
    """No preparation."""


@dataclass(frozen=True, slots=True)
class Operator:
    """``run`` is timed, ``prepare`` comes before it and is not."""

    name: str
    run: Callable[[], object]
    prepare: Callable[[], object] = field(default=_nothing)


def operators_of_step(bench: Workbench, rows: Tensor) -> list[Operator]:
    """What a step on these rows does, in its order."""
    return _Parts(bench, rows).operators()


class _Parts:
    """One batch, what the model makes of it, and the operators on that."""

    def __init__(self, bench: Workbench, rows: Tensor) -> None:
        self.bench = bench
        self.rows = rows
        training_pass = bench.learner.training_pass
        self.model: LatentSeq2Seq = training_pass.model
        terms = dict(training_pass.objective.terms)
        self.companion: nn.Module | None = terms.pop("coupling", None)
        self.terms = list(terms.values())
        self.batch: Batch = bench.pairs.batch(rows)
        with torch.no_grad(), bench.fabric.autocast():
            self.output: ModelOutput = self.model(self.batch)

    def operators(self) -> list[Operator]:
        """In the order of a step."""
        clear = self.bench.learner.training_pass.zero_grad
        steps = {
            "encoders": self.encoders,
            "code": self.code,
            "decoder": self.decoder,
            "words": self.words,
            **({"companion": self.coupled} if self.companion else {}),
        }
        learnt = [Operator(name, self._both_ways(run), clear) for name, run in steps.items()]
        return [
            Operator("batch", lambda: self.bench.pairs.batch(self.rows)),
            *learnt,
            self._optimiser(),
        ]

    def _both_ways(self, forward: Callable[[], list[Tensor]]) -> Callable[[], None]:
        """A forward pass as the run's precision has it, and the backward pass of what it gave."""

        def run() -> None:
            with self.bench.fabric.autocast():
                outputs = forward()
            moving = [output for output in outputs if output.requires_grad]
            torch.autograd.backward(moving, [torch.ones_like(output) for output in moving])

        return run

    def encoders(self) -> list[Tensor]:
        """Texts to states."""
        model, batch = self.model, self.batch
        states = [model.encoder(model.embedding(batch.context), batch.context_lengths)]
        if model.response_encoder is not None:
            embedded = model.embedding(batch.targets)
            states.append(model.response_encoder(embedded, batch.target_lengths))
        return states

    def code(self) -> list[Tensor]:
        """States to beliefs, a draw and the decoder's signal, and the penalties on them."""
        given = self.output.inference
        context, seen = _leaf(given.context), _leaf(given.seen)
        inference = type(given)(
            context=context,
            seen=seen,
            posterior=self.model.posterior(seen),
            prior=self.model.prior(context),
        )
        z = inference.posterior.rsample()
        signal = self.model.bridge(z, self.model.bridge.share(context))
        output = ModelOutput(inference=inference, z=z, features=self.output.features)
        return [signal, *self._penalties(output)]

    def _penalties(self, output: ModelOutput) -> list[Tensor]:
        step = Step(PROGRESS)
        return [term(self.model, self.batch, output, step) for term in self.terms]

    def decoder(self) -> list[Tensor]:
        """Signal and words before to features."""
        given = self.output.inference
        with torch.no_grad():
            signal = self.model.bridge(self.output.z, self.model.bridge.share(given.context))
        lengths = self.batch.target_lengths
        return [self.model.decoder.features(self.batch.inputs, lengths, _leaf(signal))]

    def words(self) -> list[Tensor]:
        """Features to the cross-entropy of the words."""
        features = _leaf(self.output.features)
        return [reconstruction(self.model.decoder, self.batch, features)]

    def coupled(self) -> list[Tensor]:
        """The companion's maps, decoder and words."""
        assert self.companion is not None
        given = self.output.inference
        inference = type(given)(
            context=_leaf(given.context),
            seen=_leaf(given.seen),
            posterior=given.posterior,
            prior=given.prior,
        )
        output = ModelOutput(
            inference=inference, z=_leaf(self.output.z), features=self.output.features
        )
        return [self.companion(self.model, self.batch, output, Step(PROGRESS))]

    def _optimiser(self) -> Operator:
        """Clipping and Adam, over gradients as large as the parameters."""
        optimisation = self.bench.config.optimisation
        training_pass = self.bench.learner.training_pass
        optimiser = build_optimiser(training_pass, optimisation)
        for group in optimiser.param_groups:
            group["lr"] = 0.0  # the model stays what the other operators measure
        parameters = list(training_pass.parameters())
        grads = [torch.full_like(parameter, 1e-6) for parameter in parameters]

        def give() -> None:
            for parameter, grad in zip(parameters, grads, strict=True):
                parameter.grad = grad

        def update() -> None:
            clip(parameters, optimisation.clip_norm)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)

        return Operator("optimiser", update, give)


def _leaf(values: Tensor) -> Tensor:
    return values.detach().requires_grad_()
