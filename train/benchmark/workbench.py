"""A run set up for measuring: model, optimiser and pairs on their device, at real sizes."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dialog_service.errors import ConfigError
from dialog_service.generation import resolve_device
from train.benchmark.clock import Clock
from train.benchmark.lengths import Lengths, synthetic_pairs
from train.benchmark.work import BatchLengths
from train.config import RunConfig
from train.data.batches import EpochPlan, TokenisedPairs
from train.launch import launched
from train.learner import Learner
from train.ranks import Ranks

PROGRESS = 0.95  # every schedule has let its term in by then


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One thing to measure, small enough to be handed to another process.

    ``config`` is as asked, with weights per token; ``pairs`` is how many there are.
    """

    config: RunConfig
    lengths: Lengths
    pairs: int
    device: str = "auto"
    precision: str = "auto"
    threads: int | None = None

    def on(self, *, device: str, precision: str, threads: int | None) -> "Case":
        """The same on a device, at a precision and with so many CPU threads."""
        return replace(self, device=device, precision=precision, threads=threads)

    @property
    def target(self) -> torch.device:
        """The device of the name; ConfigError where there is none."""
        return resolve_device(self.device)


class Workbench:
    """What a case describes, built."""

    def __init__(self, case: Case, pairs: TokenisedPairs | None = None) -> None:
        """Build everything; pairs are synthetic unless given.

        Raises:
            ConfigError: no such device or precision, or fewer pairs than a batch has.
        """
        if case.threads:
            torch.set_num_threads(case.threads)
        self.fabric = launched(case.device, case.precision)
        asked = case.config
        batch_size = asked.optimisation.batch_size
        if case.pairs < batch_size:
            raise ConfigError(f"--pairs {case.pairs}: a batch alone has {batch_size}")
        sized = asked.model.model_copy(update={"vocab_size": asked.data.vocabulary_size})
        found = pairs or synthetic_pairs(case.lengths, sized, count=case.pairs, seed=asked.seed)
        self.config = asked.resolved(
            vocab_size=asked.data.vocabulary_size,
            mean_target_tokens=found.mean_target_tokens,
            planned_steps=len(found) // batch_size * asked.optimisation.epochs,
        )
        self.learner = Learner(self.config, Ranks(self.fabric))
        self.pairs = found.to(self.fabric.device)
        self.clock = Clock(self.fabric.device)
        self.plan = EpochPlan(rows=len(found), batch_size=batch_size, seed=asked.seed)

    def rows(self) -> Iterator[Tensor]:
        """(B,) rows of one batch after the other, epoch after epoch."""
        return (rows for epoch in itertools.count() for rows in self.plan.batches(epoch))

    def step(self, rows: Tensor) -> None:
        """A whole training step, as the trainer takes it: the batch is made, the model learns."""
        self.learner.step(self.pairs.batch(rows), PROGRESS)

    def lengths_of(self, rows: Tensor) -> BatchLengths:
        """Real tokens of some rows."""
        return BatchLengths(self.pairs.context_lengths[rows], self.pairs.response_lengths[rows])

    @property
    def parameters(self) -> int:
        """How many numbers are learnt."""
        return sum(parameter.numel() for parameter in self.learner.training_pass.parameters())

    @property
    def product_dtype(self) -> torch.dtype:
        """What the step multiplies in."""
        kind = self.fabric.device.type
        with self.fabric.autocast():
            is_narrow = torch.is_autocast_enabled(kind)
            return torch.get_autocast_dtype(kind) if is_narrow else torch.float32
