"""What a training step needs of a CPU with matrix units, compiled.

In bfloat16: recurrent layers over whole sequences, forward and backward, the linear layer behind
them, and the cross-entropy over the vocabulary with its gradients. Torch makes an instruction
stream of its own for every number of rows that a product meets, and batches of utterances seldom
have the same number twice; its casts and its small operations take more time than the products.
Where the processor lacks the instructions or the machine a compiler, torch does the same.
"""

from torch import nn

from dialog_service.models.affine import RowsLinear
from dialog_service.models.dropout import Dropout
from dialog_service.models.recurrence import Recurrence
from train.kernels.dropout import CompiledDropout
from train.kernels.kernels import (
    MOST_NATS,
    Kernels,
    Losses,
    Operands,
    explain_kernels,
    find_kernels,
)
from train.kernels.linear import CompiledAffine
from train.kernels.walk import CompiledWalk

__all__ = [
    "MOST_NATS",
    "Kernels",
    "Losses",
    "Operands",
    "explain_kernels",
    "find_kernels",
    "hasten",
]


def hasten(module: nn.Module) -> bool:
    """Let what of a module has a compiled way take it under autocast; whether it can."""
    kernels = find_kernels()
    if kernels is None:
        return False
    walk, drop, affine = CompiledWalk(kernels), CompiledDropout(kernels), CompiledAffine(kernels)
    for part in module.modules():
        if isinstance(part, Recurrence):
            part.walk = walk
        if isinstance(part, Dropout):
            part.drop = drop
        if isinstance(part, RowsLinear):
            part.affine = affine
    return True
