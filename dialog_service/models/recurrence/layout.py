"""Where the real tokens of a padded batch are, in the order in which a recurrence reaches them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Layout:
    """Real tokens in the order of their step, longest rows first within a step.

    ``places`` (N,) is where each stands among the B T padded ones; ``counts`` how many rows
    reach each step. The rows of a step are the first rows of the step before.
    """

    places: Tensor
    counts: tuple[int, ...]


def layout(lengths: Tensor, width: int) -> Layout:
    """The layout of rows of (B,) ``lengths``, each padded to ``width``."""
    ordered, order = lengths.sort(descending=True, stable=True)
    steps = torch.arange(int(ordered[0]))
    reached = steps[:, None] < ordered  # (T, B)
    step, rank = reached.nonzero(as_tuple=True)
    return Layout(order[rank] * width + step, tuple(reached.sum(1).tolist()))


def spans(counts: Sequence[int]) -> list[tuple[slice, slice]]:
    """Per step: its rows among the N, and the same sequences' rows one step before."""
    starts = [0]
    for count in counts:
        starts.append(starts[-1] + count)
    return [
        (slice(start, start + count), slice(before, before + count))
        for start, before, count in zip(starts, [0, *starts], counts, strict=False)
    ]


def rows_before(found: Sequence[tuple[slice, slice]]) -> Tensor:
    """(N,) per real token, where its sequence stood one step before; 0 in the first step."""
    return torch.cat([torch.arange(before.start, before.stop) for _, before in found])
