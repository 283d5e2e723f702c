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
        """(B / ranks, Z) of this rank -> (B, Z) of all, gradients flowing back to each rank.

        The gradient of a gather is summed over ranks and data parallelism averages, so a term
        that every rank computes of all rows has the gradient of that one term.
        """
        if self.count == 1:
            return local
        gathered = self.fabric.all_gather(local, sync_grads=local.requires_grad)
        return cast(Tensor, gathered).flatten(0, 1)

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
        there = {name: value.to(self.fabric.device) for name, value in mine.items()}
        gathered = cast(dict[str, Tensor], self.fabric.all_gather(there))
        return [
            {name: values[rank].cpu() for name, values in gathered.items()}
            for rank in range(self.count)
        ]
