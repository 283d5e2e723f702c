"""Adam and how its learning rate moves over a run."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from train.config import OptimisationConfig

PAPER_DECAY_PER_EPOCH = 0.98  # the published code of the Stochastic WAE paper


def build_optimiser(module: nn.Module, config: OptimisationConfig) -> torch.optim.Adam:
    """Adam (Kingma & Ba 2015), all parameters in one pass over memory."""
    return torch.optim.Adam(
        module.parameters(),
        lr=config.learning_rate,
        weight_decay=config.weight_decay,
        fused=True,
    )


def clip(parameters: Sequence[nn.Parameter], most: float) -> Tensor:
    """Shorten all gradients together to a norm of at most ``most``; () what it was before.

    One that is not finite is the caller's to notice.
    """
    norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    # A pass over memory is spared where all would be multiplied by one. A GPU is not asked: it
    # would be waited for.
    if not norm.is_cpu or not norm <= most:
        nn.utils.clip_grads_with_norm_(parameters, most, norm)
    return norm


def learning_rate(config: OptimisationConfig, progress: float) -> float:
    """The learning rate at ``progress`` = steps done / steps planned, in [0, 1]."""
    peak, final = config.learning_rate, config.final_learning_rate
    if progress < config.warmup:
        return peak * max(progress / config.warmup, 0.01)
    share = (progress - config.warmup) / (1 - config.warmup)
    match config.decay:
        case "halving":
            return max(final, peak * 0.5 ** max(0, math.floor(30 * share + 1e-9) - 15))
        case "exponential":
            return max(final, peak * math.pow(PAPER_DECAY_PER_EPOCH, share * config.epochs))
        case "cosine":
            return final + (peak - final) * (1 + math.cos(math.pi * share)) / 2
