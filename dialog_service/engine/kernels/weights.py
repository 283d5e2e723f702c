"""Weights as the kernels read them."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

LEVELS = 127  # of either sign
BLOCK, TILE, DEPTH = 64, 16, 64  # outputs multiplied together; outputs, and inputs, of a tile


class PackedWeights(NamedTuple):
    """A weight whose outputs O and inputs I are filled up with nothing to whole blocks."""

    levels: Tensor  # (O / 16, I / 64, 16, 16, 4) int8: four inputs of each of sixteen outputs
    zeros: Tensor  # (O,) int32, what a row of zeros adds up to
    scales: Tensor  # (O,) float32
    bias: Tensor  # (O,) float32, -inf where there is no output

    @property
    def outputs(self) -> int:
        """O."""
        return len(self.bias)

    @property
    def inputs(self) -> int:
        """I."""
        return self.levels.shape[1] * DEPTH


def pack(weight: Tensor, bias: Tensor) -> PackedWeights:
    """Lay out (O, I) float32 weights, each row in 255 levels of its own, and (O,) biases."""
    outputs, inputs = weight.shape
    scales = weight.abs().amax(dim=1).clamp_min(1e-30) / LEVELS
    whole = (0, filled(inputs, DEPTH) - inputs, 0, filled(outputs, BLOCK) - outputs)
    levels = pad((weight / scales[:, None]).round().to(torch.int8), whole)
    tiles = levels.unflatten(0, (-1, TILE)).unflatten(2, (-1, DEPTH // 4, 4))
    return PackedWeights(
        levels=tiles.permute(0, 2, 3, 1, 4).contiguous(),
        zeros=levels.sum(dim=1, dtype=torch.int32) * LEVELS,
        # A row's levels are of its greatest magnitude, which 127 of them make up.
        scales=pad(scales, whole[2:]) / LEVELS,
        bias=pad(bias.float(), whole[2:], value=-torch.inf),
    )


def pack_cell(weight: Tensor, bias: Tensor, gates: int) -> PackedWeights:
    """The same of (GH, H) recurrent weights, in blocks of sixteen units with all their gates."""
    units = len(weight) // gates
    whole = (0, filled(units, TILE) - units, 0, BLOCK // TILE - gates)  # of units, of gates

    def laid_out(part: Tensor) -> Tensor:
        """(GH, M) -> (blocks x 64, M)."""
        each = part.unflatten(0, (gates, units)).permute(2, 0, 1)  # (M, G, H)
        blocks = pad(each, whole).unflatten(2, (-1, TILE))  # (M, 4, blocks, 16)
        outputs: Tensor = blocks.permute(2, 1, 3, 0).flatten(0, 2)
        return outputs

    return pack(laid_out(weight), laid_out(bias[:, None]).squeeze(1))


def filled(count: int, multiple: int) -> int:
    """The least multiple that is no less."""
    return -(-count // multiple) * multiple
