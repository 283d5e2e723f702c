"""What a decoding step needs of a CPU, compiled: eight-bit products with what follows them.

Torch multiplies about as fast, but hands on a table of N x V scores, which every later operation
reads and writes; that takes longer than the product. Here a score lives in a register. Where the
processor lacks the instructions or the machine a compiler, the engine does the same with torch.
"""

from dialog_service.engine.kernels.kernels import (
    CellKind,
    Choice,
    Given,
    Kernels,
    Picking,
    explain_kernels,
    find_kernels,
)
from dialog_service.engine.kernels.weights import PackedWeights, pack, pack_cell

__all__ = [
    "CellKind",
    "Choice",
    "Given",
    "Kernels",
    "PackedWeights",
    "Picking",
    "explain_kernels",
    "find_kernels",
    "pack",
    "pack_cell",
]
