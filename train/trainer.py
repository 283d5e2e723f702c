"""fit(): the only training loop. Knows no variant: a run is its config.

Lightning Fabric gives device, precision and, under torchrun, data parallelism. Everything a step
depends on is a pure function of the config and the position, or is in the saved state, so an
interrupted run continues bit for bit.
"""

import math
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

import torch
from lightning_fabric import Fabric
from torch import Tensor

from dialog_service.checkpoint import Checkpoint, CheckpointMeta, recovered, save_checkpoint
from dialog_service.models.seq2seq import build_model
from dialog_service.vocabulary import Vocabulary
from train.config import OptimisationConfig, RunConfig
from train.data.batches import EpochPlan, TokenisedPairs
from train.objectives.objective import Losses, Objective, Step, TrainingPass, alone
from train.run_log import RunLog
from train.state import (
    RunPosition,
    TrainingState,
    load_state,
    random_state,
    restore_random_state,
    save_state,
)
from train.validation import Validation, sample_replies, validate

BEST, TRAINING = "best", "training"
SHOWN_EVERY_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInputs:
    """A resolved config with the tokens it is trained on and where its checkpoint comes from."""

    config: RunConfig
    vocabulary: Vocabulary
    train: TokenisedPairs
    validation: TokenisedPairs
    meta: CheckpointMeta
    sample_posts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FitResult:
    """How a run ended: the signal that stopped it, or none; its best epoch and metric."""

    interrupted_by: signal.Signals | None
    best_epoch: int
    best_metric: float


def fit(inputs: RunInputs, fabric: Fabric, output: Path, *, resume: bool = False) -> FitResult:
    """Train until the planned epochs, early stopping, or a signal; save the best checkpoint.

    Args:
        inputs: what to train on; weights in nats per example.
        fabric: launched; says device, precision and ranks.
        output: where ``best/`` (the checkpoint to serve), ``training/`` (the state to resume
            from) and the logs go.
        resume: continue the run saved there.

    Raises:
        CheckpointError: nothing to resume, or a save failed.
    """
    run = _Run(inputs, fabric, output)
    if resume:
        run.restore()
    with (
        _stop_requests() as asked,
        RunLog(output, planned_steps=run.planned_steps, silent=not fabric.is_global_zero) as log,
    ):
        caught = run.train(log, asked)
    return FitResult(
        interrupted_by=caught,
        best_epoch=run.position.best_epoch,
        best_metric=run.position.best_metric,
    )


def learning_rate(config: OptimisationConfig, progress: float) -> float:
    """The learning rate at ``progress`` = steps done / steps planned, in [0, 1]."""
    peak, final = config.learning_rate, config.final_learning_rate
    if progress < config.warmup:
        return peak * max(progress / config.warmup, 0.01)
    share = (progress - config.warmup) / (1 - config.warmup)
    if config.decay == "exponential":
        return max(final, peak * 0.98 ** (share * config.epochs))  # the W papers' factor an epoch
    return final + (peak - final) * (1 + math.cos(math.pi * min(share, 1.0))) / 2


class _Run:
    """One run under way."""

    def __init__(self, inputs: RunInputs, fabric: Fabric, output: Path) -> None:
        self.inputs = inputs
        self.fabric = fabric
        self.output = output
        config = inputs.config
        self.position = RunPosition()
        self.plan = EpochPlan(
            rows=len(inputs.train),
            batch_size=config.optimisation.batch_size,
            seed=config.seed,
            rank=fabric.global_rank,
            ranks=fabric.world_size,
        )
        self.planned_steps = self.plan.steps_per_epoch * config.optimisation.epochs
        torch.manual_seed(config.seed)
        self.training_pass = TrainingPass(build_model(config.model), Objective(config.objective))
        optimiser = torch.optim.Adam(
            self.training_pass.parameters(),
            lr=config.optimisation.learning_rate,
            weight_decay=config.optimisation.weight_decay,
            fused=True,
        )
        self.wrapped, self.optimiser = fabric.setup(self.training_pass, optimiser)
        torch.manual_seed(config.seed + 7919 * (1 + fabric.global_rank))  # dropout and z differ
        self.train_pairs = inputs.train.to(fabric.device)
        self.validation_pairs = inputs.validation.to(fabric.device)
        self.sums: dict[str, Tensor] = {}

    def train(self, log: RunLog, asked: "_StopRequests") -> signal.Signals | None:
        """Epoch after epoch; the signal that stopped it, or None."""
        optimisation = self.inputs.config.optimisation
        self.wrapped.train()
        while not self.position.is_finished:
            stopped = self._epoch(log, asked)
            if stopped is not None:
                self.save()
                return stopped
            self._close_epoch(log)
            waited = self.position.epoch - 1 - self.position.best_epoch
            if optimisation.patience_epochs and waited >= optimisation.patience_epochs:
                log.say(f"stopped early: no better epoch in {waited}")
                self.position.is_finished = True
            if self.position.epoch >= optimisation.epochs:
                self.position.is_finished = True
            self.save()
        return None

    def _epoch(self, log: RunLog, asked: "_StopRequests") -> signal.Signals | None:
        """The rest of the current epoch, or as far as a signal lets it."""
        position, started, shown = self.position, time.monotonic(), 0.0
        saved, first = started, position.step
        for rows in self.plan.batches(position.epoch, position.step_in_epoch):
            self._step(rows)
            now = time.monotonic()
            if now - shown >= SHOWN_EVERY_SECONDS:
                shown = now
                rate = (position.step - first) * self.plan.batch_size / (now - started)
                log.advance(position.step, self._epoch_name(), self._means(), rate)
            if now - saved >= self.inputs.config.optimisation.checkpoint_seconds:
                saved = now
                self.save()
            caught = self._agreed(asked.caught)
            if caught is not None:
                position.elapsed_seconds += time.monotonic() - started
                return caught
        position.elapsed_seconds += time.monotonic() - started
        return None

    def _step(self, rows: Tensor) -> None:
        progress = self.position.step / self.planned_steps
        optimisation = self.inputs.config.optimisation
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(optimisation, progress)
        gather = self._gather if self.fabric.world_size > 1 else alone
        step = Step(progress=progress, gather=gather)
        losses: Losses = self.wrapped(self.train_pairs.batch(rows), step)
        self.fabric.backward(losses.total)
        self.fabric.clip_gradients(self.wrapped, self.optimiser, max_norm=optimisation.clip_norm)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self._add(losses)
        self.position.step += 1
        self.position.step_in_epoch += 1

    def _gather(self, local: Tensor) -> Tensor:
        """(B / ranks, Z) of this rank -> (B, Z) of all, gradients flowing back to each rank.

        The gradient of a gather is summed over ranks and the wrapper averages, so every rank
        sees the gradient of the one term over the whole batch.
        """
        gathered = self.fabric.all_gather(local, sync_grads=local.requires_grad)
        assert isinstance(gathered, Tensor)
        return gathered.flatten(0, 1)

    def _add(self, losses: Losses) -> None:
        """Sum losses on the device: reading them every step would make it wait."""
        parts = {"loss": losses.total, "nll": losses.reconstruction, **losses.terms}
        for name, value in parts.items():
            value = value.detach().float()
            self.sums[name] = self.sums[name] + value if name in self.sums else value

    def _means(self) -> dict[str, float]:
        steps = max(1, self.position.step_in_epoch)
        return {name: float(value) / steps for name, value in self.sums.items()}

    def _epoch_name(self) -> str:
        return f"{self.position.epoch + 1}/{self.inputs.config.optimisation.epochs}"

    def _close_epoch(self, log: RunLog) -> None:
        """Validate, log, keep the checkpoint if it is the best, move on."""
        position = self.position
        found = validate(
            self.training_pass,
            self.validation_pairs,
            batch_size=self.inputs.config.optimisation.batch_size,
        )
        log.record("train", position.step, self._means(), epoch=position.epoch + 1)
        is_best = found.objective < position.best_metric
        if is_best:
            position.best_metric, position.best_epoch = found.objective, position.epoch
        self._report(log, found, is_best)
        position.epoch += 1
        position.step_in_epoch = 0
        self.sums = {}
        if is_best and self.fabric.is_global_zero:
            save_checkpoint(self._checkpoint(found), self.output / BEST)

    def _report(self, log: RunLog, found: Validation, is_best: bool) -> None:
        posts = list(self.inputs.sample_posts)
        replies = sample_replies(self._checkpoint(found), posts)
        log.record(
            "validation",
            self.position.step,
            found.figures(),
            epoch=self.position.epoch + 1,
            elapsed_seconds=round(self.position.elapsed_seconds, 1),
            samples=dict(zip(posts, replies, strict=True)),
        )
        figures = "  ".join(f"{name} {value:.3f}" for name, value in found.figures().items())
        log.say(f"epoch {self._epoch_name()}{' (best)' if is_best else ''}: {figures}")
        for post, texts in zip(posts, replies, strict=True):
            log.say(f"    {post}  ->  {'  |  '.join(texts)}")
        if found.is_latent_mute:
            log.warn(
                "the latent has stopped carrying the post: "
                f"{found.active_units} active units, at most {found.channel_nats:.2f} nats reach "
                "the decoder; lower the weight of kl_to_own_mean or let it in later"
            )

    def _checkpoint(self, found: Validation) -> Checkpoint:
        figures = {**found.figures(), "epoch": float(self.position.epoch + 1)}
        return Checkpoint(
            model=self.training_pass.model,
            vocabulary=self.inputs.vocabulary,
            sampling=self.inputs.config.sampling,
            meta=self.inputs.meta.model_copy(update={"metrics": figures}),
        )

    def _agreed(self, caught: signal.Signals | None) -> signal.Signals | None:
        """A signal that any rank caught, so that all stop at the same step."""
        if self.fabric.world_size == 1:
            return caught
        number = torch.tensor(float(caught or 0), device=self.fabric.device)
        reduced = int(self.fabric.all_reduce(number, reduce_op="max"))
        return signal.Signals(reduced) if reduced else None

    def save(self) -> None:
        """Write everything needed to continue exactly; all ranks take part."""
        mine = random_state(self.fabric.device)
        states = self._all_random_states(mine)
        self.position.sums = {name: float(value) for name, value in self.sums.items()}
        if self.fabric.is_global_zero:
            state = TrainingState(
                position=self.position,
                parameters=dict(self.training_pass.state_dict()),
                optimiser=self.optimiser.state_dict(),
                random=states,
            )
            save_state(state, self.output / TRAINING)
        self.fabric.barrier()

    def _all_random_states(self, mine: dict[str, Tensor]) -> list[dict[str, Tensor]]:
        if self.fabric.world_size == 1:
            return [mine]
        gathered = self.fabric.all_gather(
            {name: value.to(self.fabric.device) for name, value in mine.items()}
        )
        assert isinstance(gathered, dict)
        return [
            {name: value[rank].cpu() for name, value in gathered.items()}
            for rank in range(self.fabric.world_size)
        ]

    def restore(self) -> None:
        """Continue from the saved state."""
        state = load_state(self.output / TRAINING)
        recovered(self.output / BEST)
        self.training_pass.load_state_dict(state.parameters)
        self.optimiser.load_state_dict(state.optimiser)
        self.position = replace(state.position, sums={})
        self.sums = {
            name: torch.tensor(value, device=self.fabric.device)
            for name, value in state.position.sums.items()
        }
        restore_random_state(state.random[self.fabric.global_rank], self.fabric.device)


class _StopRequests:
    """The first SIGINT or SIGTERM; a second one ends the process at once."""

    def __init__(self) -> None:
        self.caught: signal.Signals | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.caught = signal.Signals(number)
        signal.signal(number, signal.SIG_DFL)


@contextmanager
def _stop_requests() -> Iterator[_StopRequests]:
    """Turn SIGINT and SIGTERM into a request to stop after the step under way."""
    asked = _StopRequests()
    old = {number: signal.signal(number, asked) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
