"""fit(): the only training loop. Knows no variant: a run is its config.

Lightning Fabric gives device, precision and, under torchrun, data parallelism. Everything a step
depends on is a pure function of the config and the position, or is in the saved state, so an
interrupted run continues bit for bit.
"""

import math
import signal
import time
from dataclasses import dataclass

from lightning_fabric import Fabric

from dialog_service.checkpoint import Checkpoint, recovered, save_checkpoint
from dialog_service.errors import CheckpointError, ConfigError
from train.data.batches import EpochPlan
from train.interruption import StopRequests, stop_requests
from train.kernels import explain_kernels
from train.learner import Learner
from train.loss_sums import LossSums
from train.ranks import Ranks
from train.run_folder import RunFolder
from train.run_inputs import RunInputs
from train.run_log import EpochReport, LogStart, Progressed, RunLog
from train.state import RunPosition, load_state, save_state
from train.validation import Validation, sample_replies, validate

SHOWN_EVERY_SECONDS = 1.0
AGREE_EVERY_STEPS = 10  # ranks ask one another whether to stop or save: each answer is a wait


@dataclass(frozen=True, slots=True, kw_only=True)
class FitResult:
    """How a run ended: the signal that stopped it, or none; epochs done, the best and its metric.

    Epochs count from one; ``kept_epoch`` is the one whose weights are served.
    """

    interrupted_by: signal.Signals | None
    epochs: int
    best_epoch: int
    best_metric: float
    kept_epoch: int


def fit(inputs: RunInputs, fabric: Fabric, folder: RunFolder, *, resume: bool = False) -> FitResult:
    """Train until the planned epochs, early stopping, or a signal; save the checkpoint to serve.

    Args:
        inputs: what to train on; weights in nats per example.
        fabric: launched; says device, precision and ranks.
        folder: where the checkpoint, the state to resume from and the logs go.
        resume: continue the run saved there.

    Raises:
        CheckpointError: nothing to resume, another run's state, or a save failed.
        ConfigError: the config cannot be trained, or training diverged.
    """
    run = _Run(inputs, Ranks(fabric), folder)
    if resume:
        run.restore()
    else:
        run.save()  # a place that cannot be written is known before the first epoch
    with stop_requests() as asked, run.opened_log() as log:
        caught = run.train(log, asked)
    best_epoch = run.position.best_epoch + 1
    return FitResult(
        interrupted_by=caught,
        epochs=run.position.epoch,
        best_epoch=best_epoch,
        best_metric=run.position.best_metric,
        kept_epoch=run.position.epoch if run.optimisation.kept == "last" else best_epoch,
    )


class _Run:
    """One run under way."""

    def __init__(self, inputs: RunInputs, ranks: Ranks, folder: RunFolder) -> None:
        self.inputs = inputs
        self.ranks = ranks
        self.folder = folder
        self.optimisation = inputs.config.optimisation
        self.plan = _plan(inputs, ranks)
        self.planned_steps = inputs.config.planned_steps(len(inputs.train))
        self.learner = Learner(inputs.config, ranks)
        self.train_pairs = inputs.train.to(ranks.fabric.device)
        self.validation_pairs = inputs.validation.to(ranks.fabric.device)
        self.position = RunPosition()
        self.numerics_at_start = self.learner.numerics
        self.started_at = self.saved_at = time.monotonic()

    def opened_log(self) -> RunLog:
        """The log of this run, from where it stands."""
        position = self.position
        start = LogStart(
            planned_steps=self.planned_steps,
            steps=position.step,
            closed_epochs=position.epoch,
            closed_steps=position.step - position.step_in_epoch,
        )
        return RunLog(self.folder, start, is_silent=not self.ranks.is_first)

    def train(self, log: RunLog, asked: StopRequests) -> signal.Signals | None:
        """Epoch after epoch; the signal that stopped it, or None."""
        if self.numerics_at_start != self.learner.numerics:
            log.warn(
                f"begun on {self.numerics_at_start}, continued on {self.learner.numerics}: close "
                "to, but not exactly, the run that had not been interrupted"
            )
        if self.learner.is_by_torch:
            log.say(f"bfloat16 by {explain_kernels()}")
        while not self.position.is_finished:
            stopped = self._epoch(log, asked)
            if stopped is None:
                self._close_epoch(log)
            self.save()
            if stopped is not None:
                return stopped
        return None

    def _epoch(self, log: RunLog, asked: StopRequests) -> signal.Signals | None:
        """The rest of the current epoch, or as far as a signal lets it."""
        position = self.position
        started, first, shown = time.monotonic(), position.step, 0.0
        for rows in self.plan.batches(position.epoch, position.step_in_epoch):
            self.learner.step(self.train_pairs.batch(rows), position.step / self.planned_steps)
            position.step += 1
            position.step_in_epoch += 1
            now = time.monotonic()
            if now - shown >= SHOWN_EVERY_SECONDS or position.step == self.planned_steps:
                shown = now
                self._show(log, steps_per_second=(position.step - first) / (now - started))
            stop, is_save_due = self._agreed(asked)
            if stop is not None:
                return stop
            if is_save_due:
                self.save()
        return None

    def _show(self, log: RunLog, *, steps_per_second: float) -> None:
        log.advance(
            Progressed(
                step=self.position.step,
                epoch=f"{self.position.epoch + 1}/{self.optimisation.epochs}",
                figures=self._means(),
                pairs_per_second=steps_per_second * self.plan.batch_size,
            )
        )

    def _means(self) -> dict[str, float]:
        """Mean losses of a step on this rank since the epoch's start."""
        sums, steps = self.learner.sums.values(), self.position.step_in_epoch
        return {name: value / steps for name, value in sums.items()}

    def _agreed(self, asked: StopRequests) -> tuple[signal.Signals | None, bool]:
        """The signal to stop for and whether a save is due, the same on every rank."""
        if self.ranks.count > 1 and self.position.step % AGREE_EVERY_STEPS:
            return None, False
        is_due = time.monotonic() - self.saved_at >= self.optimisation.checkpoint_seconds
        number, due = self.ranks.largest([int(asked.caught or 0), int(is_due)])
        return (signal.Signals(number) if number else None), bool(due)

    def _close_epoch(self, log: RunLog) -> None:
        """Validate, log, keep the checkpoint if it is to be kept, move on.

        The checkpoint is written before the state that counts it: a kill between the two repeats
        the end of the epoch, and finds it again.
        """
        position = self.position
        train = self.ranks.mean(self._means())
        found = self.ranks.from_first(self._validated)
        is_first_settled = found.is_settled and not position.is_best_settled
        is_better = found.objective < position.best_metric
        is_best = is_better or is_first_settled or not found.is_settled
        if is_best:
            position.best_metric, position.best_epoch = found.objective, position.epoch
            position.is_best_settled = found.is_settled
        if self.ranks.is_first:
            log.close_epoch(self._report(train, found, is_best))
        if self.ranks.is_first and (is_best or self.optimisation.kept == "last"):
            save_checkpoint(self._checkpoint(found), self.folder.best)
        position.epoch += 1
        position.step_in_epoch = 0
        position.is_finished = self._is_over(log)
        self.learner.sums = LossSums()

    def _validated(self) -> Validation:
        found = validate(
            self.learner.training_pass,
            self.validation_pairs,
            batch_size=self.optimisation.batch_size,
        )
        if not math.isfinite(found.objective):
            raise ConfigError(
                f"training diverged: after epoch {self.position.epoch + 1} the validation "
                f"objective is {found.objective}; lower optimisation.learning_rate"
            )
        return found

    def _is_over(self, log: RunLog) -> bool:
        """Whether the epoch just closed was the last one."""
        waited = self.position.epoch - 1 - self.position.best_epoch
        if 0 < self.optimisation.patience_epochs <= waited:
            log.say(f"stopped early: no better epoch in {waited}")
            return True
        return self.position.epoch >= self.optimisation.epochs

    def _report(self, train: dict[str, float], found: Validation, is_best: bool) -> EpochReport:
        posts = list(self.inputs.sample_posts)
        replies = sample_replies(self._checkpoint(found), posts)
        return EpochReport(
            step=self.position.step,
            epoch=self.position.epoch + 1,
            epochs=self.optimisation.epochs,
            elapsed_seconds=self._elapsed_seconds(),
            train=train,
            validation=found,
            is_best=is_best,
            samples=dict(zip(posts, replies, strict=True)),
        )

    def _checkpoint(self, found: Validation) -> Checkpoint:
        figures = {**found.figures(), "epoch": float(self.position.epoch + 1)}
        return Checkpoint(
            model=self.learner.training_pass.model,
            vocabulary=self.inputs.vocabulary,
            sampling=self.inputs.config.sampling,
            meta=self.inputs.meta.model_copy(update={"metrics": figures}),
        )

    def _elapsed_seconds(self) -> float:
        return time.monotonic() - self.started_at

    def save(self) -> None:
        """Write everything needed to continue exactly; all ranks take part."""
        self.position.elapsed_seconds = self._elapsed_seconds()
        state = self.learner.state(self.position)
        state.data_fingerprint = self.inputs.meta.data_fingerprint
        if self.ranks.is_first:
            save_state(state, self.folder.training)
        self.ranks.fabric.barrier()
        self.saved_at = time.monotonic()

    def restore(self) -> None:
        """Continue from the saved state."""
        if self.ranks.is_first:
            recovered(self.folder.training)
            recovered(self.folder.best)
        self.ranks.fabric.barrier()
        state = load_state(self.folder.training)
        if state.data_fingerprint not in ("", self.inputs.meta.data_fingerprint):
            raise CheckpointError(
                f"{self.folder.training}: begun on other pairs than the corpus gives now"
            )
        self.learner.restore(state)
        self.position = state.position
        self.numerics_at_start = state.numerics or self.learner.numerics
        self.started_at -= state.position.elapsed_seconds


def _plan(inputs: RunInputs, ranks: Ranks) -> EpochPlan:
    """Which rows this rank sees.

    Raises:
        ConfigError: the ranks would get different shares of a batch.
    """
    batch_size = inputs.config.optimisation.batch_size
    if batch_size % ranks.count:
        raise ConfigError(
            f"optimisation.batch_size: {batch_size} must be a multiple of the "
            f"{ranks.count} processes"
        )
    return EpochPlan(
        rows=len(inputs.train),
        batch_size=batch_size,
        seed=inputs.config.seed,
        rank=ranks.fabric.global_rank,
        ranks=ranks.count,
    )
