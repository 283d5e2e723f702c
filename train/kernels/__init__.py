"""What a training step needs of a CPU with matrix units, compiled.

In bfloat16: recurrent layers over whole sequences, forward and backward, and the cross-entropy over
the vocabulary with its gradients. Torch makes an instruction stream of its own for every number of
rows that a product meets, and batches of utterances seldom have the same number twice; its casts
and its small operations take more time than the products. Where the processor lacks the
instructions or the machine a compiler, torch does the same.
"""

from train.kernels.kernels import Kernels, Losses, explain_kernels, find_kernels
from train.kernels.walk import CompiledWalk, hasten

__all__ = ["CompiledWalk", "Kernels", "Losses", "explain_kernels", "find_kernels", "hasten"]
