"""The same step as a library's building blocks make it, to say what the others are worth.

Recurrences run over padded batches through the library's layers, dropout draws the library's
masks, and every response token, padding too, gets its scores over all words at once.
"""

import copy
import statistics
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from dialog_service.models.decoder import Decoder
from dialog_service.models.dropout import Dropout
from dialog_service.models.recurrence import Recurrence
from dialog_service.models.seq2seq import Batch, ModelOutput
from train.benchmark.figures import PlainStep
from train.benchmark.measurement import Effort
from train.benchmark.workbench import PROGRESS, Workbench
from train.objectives.coupling import Companion
from train.objectives.objective import Step, TrainingPass


def measure_plain(bench: Workbench, effort: Effort) -> PlainStep:
    """Plain steps and the benchmark's own in turns, on the same batches."""
    plain, batches = _PlainStep(bench), bench.rows()
    seconds: list[float] = []
    own: list[float] = []
    plain.run(next(batches))
    for _ in effort.rounds():
        rows = next(batches)
        seconds.append(bench.clock.seconds(partial(plain.run, rows)))
        own.append(bench.clock.seconds(partial(bench.step, rows)))
    median = statistics.median(seconds)
    return PlainStep(median_seconds=median, times_longer=median / statistics.median(own))


class _PlainStep:
    """A copy of the model with the library's parts, and the library's optimiser."""

    def __init__(self, bench: Workbench) -> None:
        self.bench = bench
        self.training_pass = plain_copy(bench.learner.training_pass)
        optimisation = bench.config.optimisation
        self.clip_norm = optimisation.clip_norm
        self.optimiser = torch.optim.Adam(
            self.training_pass.parameters(), lr=optimisation.learning_rate
        )

    def run(self, rows: Tensor) -> None:
        """One step."""
        batch = self.bench.pairs.batch(rows)
        with self.bench.fabric.autocast():
            loss = plain_loss(self.training_pass, batch)
        loss.backward()
        nn.utils.clip_grad_norm_(self.training_pass.parameters(), self.clip_norm)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)


def plain_copy(training_pass: TrainingPass) -> TrainingPass:
    """The same parameters, with the library's recurrences and dropout."""
    copied = copy.deepcopy(training_pass)
    for module in copied.modules():
        match module:
            case Recurrence():
                module.walk = None
                module.sequence = partial(_library_sequence, module)  # type: ignore[method-assign]
            case nn.Embedding():
                module.sparse = False
            case Dropout():
                rate = module.dropped_levels / 256
                module.forward = partial(_library_dropout, module, rate)  # type: ignore[method-assign]
    return copied


def _library_sequence(recurrence: Recurrence, inputs: Tensor, lengths: Tensor) -> Tensor:
    hidden: Tensor = recurrence.library(inputs)[0]
    return hidden.float()


def _library_dropout(dropout: Dropout, rate: float, values: Tensor) -> Tensor:
    return functional.dropout(values, rate, dropout.training)


def plain_loss(training_pass: TrainingPass, batch: Batch) -> Tensor:
    """Reconstruction and every term, each at weight one."""
    model, step = training_pass.model, Step(PROGRESS)
    output: ModelOutput = model(batch)
    loss = _plain_reconstruction(model.decoder, batch, output.features)
    for term in training_pass.objective.terms.values():
        companion = getattr(term, "companion", None)
        if companion is None:
            loss = loss + term(model, batch, output, step)
        else:
            loss = loss + _plain_coupling(companion, training_pass, batch, output)
    return loss


def _plain_reconstruction(decoder: Decoder, batch: Batch, features: Tensor) -> Tensor:
    scores = decoder.logits(features).float()  # (N, V)
    targets = batch.targets.flatten()[batch.real]
    summed = functional.cross_entropy(scores, targets, reduction="sum")
    return summed / len(batch.targets)


def _plain_coupling(
    companion: Companion, training_pass: TrainingPass, batch: Batch, output: ModelOutput
) -> Tensor:
    """The companion's reconstruction; its match costs next to nothing."""
    context, seen = output.inference.context, output.inference.seen
    signal = companion.code(companion.loc(seen))
    share = training_pass.model.bridge.share(context)
    signal = signal + share if share.shape[1] else signal
    features = companion.decoder.features(batch.inputs, batch.target_lengths, signal)
    return _plain_reconstruction(companion.decoder, batch, features)
