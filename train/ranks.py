"""What the processes of one run do together; alone, each of these is the plain answer.

Every method is a collective one: all ranks call it at the same place, or none does.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor

from train.state import random_state

_Made = TypeVar("_Made")


@dataclass(frozen=True, slots=True)
class Ranks:
    """The processes that ``fabric`` has launched, seen from this one."""

    fabric: Fabric

    @property
    def count(self) -> int:
        """How many there are."""
        return self.fabric.world_size

    @property
    def is_first(self) -> bool:
        """Whether this one writes and speaks."""
        return self.fabric.is_global_zero

    def gather(self, local: Tensor) -> Tensor:
        """(B / ranks, Z) of this rank -> (B, Z) of all, gradients flowing back to this rank's.

        Data parallelism averages gradients over ranks. A term that every rank computes of all
        rows has on each the gradient through its own ones alone: times the number of ranks, so
        that the average is the gradient of that one term.
        """
        if self.count == 1:
            return local
        constant = local.detach()
        parts = self._of_all(constant)
        # Adds zero, to the last bit, and multiplies the gradient.
        parts[self.fabric.global_rank] = constant + self.count * (local - constant)
        return torch.cat(parts)

    def largest(self, numbers: Sequence[int]) -> list[int]:
        """The largest of each number over all ranks, so that all act alike."""
        if self.count == 1:
            return list(numbers)
        mine = torch.tensor(numbers, device=self.fabric.device)
        return cast(Tensor, self.fabric.all_reduce(mine, reduce_op="max")).tolist()

    def mean(self, figures: dict[str, float]) -> dict[str, float]:
        """The mean of each figure over all ranks."""
        if self.count == 1 or not figures:
            return figures
        mine = torch.tensor(list(figures.values()), device=self.fabric.device)
        means = cast(Tensor, self.fabric.all_reduce(mine, reduce_op="mean")).tolist()
        return dict(zip(figures, means, strict=True))

    def from_first(self, make: Callable[[], _Made]) -> _Made:
        """What the first rank makes, handed to all."""
        made = make() if self.is_first else None
        return cast(_Made, self.fabric.broadcast(made))

    def random_states(self) -> list[dict[str, Tensor]]:
        """The random state of every rank."""
        mine = random_state(self.fabric.device)
        if self.count == 1:
            return [mine]
        gathered = {
            name: self._of_all(value.to(self.fabric.device)) for name, value in mine.items()
        }
        return [
            {name: values[rank].cpu() for name, values in gathered.items()}
            for rank in range(self.count)
        ]

    def _of_all(self, local: Tensor) -> list[Tensor]:
        """A tensor of one shape on every rank, as each rank has it."""
        parts = [torch.empty_like(local) for _ in range(self.count)]
        torch.distributed.all_gather(parts, local.contiguous())
        return parts
