"""Cross-entropy of the response given z, without a score for every word held at once."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from dialog_service.models.decoder import Decoder
from dialog_service.models.seq2seq import Batch
from train.kernels import MOST_NATS, Kernels, Losses, Operands, find_kernels

BLOCK_ROWS = 1024


class Weighing(NamedTuple):
    """What the loss makes of its rows.

    ``label_smoothing`` is the share of each target that is spread evenly over the V words; the sum
    over the rows is multiplied by ``scale``.
    """

    label_smoothing: float = 0.0
    scale: float = 1.0


PLAIN = Weighing()


def reconstruction(
    decoder: Decoder, batch: Batch, features: Tensor, *, label_smoothing: float = 0.0
) -> Tensor:
    """-log p(response | z): summed over the response's tokens, mean over the batch.

    Stochastic WAE (2019), Equation 1, which sums over examples instead. End-of-sequence counts,
    padding does not.

    Args:
        decoder: whose vocabulary layer scores the features.
        batch: B examples.
        features: (N, O) of the responses' real tokens under teacher forcing.
        label_smoothing: share of each target that is spread evenly over the V words.

    Returns:
        () nats per example.
    """
    return blocked_cross_entropy(
        features,
        decoder.output.weight,
        decoder.output.bias,
        batch.targets.flatten()[batch.real],
        weighing=Weighing(label_smoothing, 1 / len(batch.targets)),
    )


def blocked_cross_entropy(
    features: Tensor,
    weight: Tensor,
    bias: Tensor,
    targets: Tensor,
    *,
    weighing: Weighing = PLAIN,
) -> Tensor:
    """Summed cross-entropy of a linear layer over V words, a block of rows at a time.

    The gradient is taken in the same pass, so a block's scores live once and are never (N, V)
    for all rows. Products run in autocast's type where it is on, sums in float32.

    Args:
        features: (N, O).
        weight: (V, O).
        bias: (V,).
        targets: (N,) ids.
        weighing: of the rows.

    Returns:
        () nats, summed over the rows, times the scale.
    """
    kind = features.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype
    if torch.is_grad_enabled():
        scaled: Tensor = _BlockedCrossEntropy.apply(  # type: ignore[no-untyped-call]
            features, weight, bias, targets, _Manner(dtype, *weighing)
        )
        return scaled
    features, weight = features.to(dtype), weight.to(dtype)
    blocks = zip(features.split(BLOCK_ROWS), targets.split(BLOCK_ROWS), strict=True)
    scores = ((_scores(block, weight, bias), ids) for block, ids in blocks)
    smoothing = weighing.label_smoothing
    nats = [
        functional.cross_entropy(score, ids, reduction="sum", label_smoothing=smoothing)
        for score, ids in scores
    ]
    return torch.stack(nats).sum() * weighing.scale


def _scores(features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    if features.dtype == torch.float32:
        return functional.linear(features, weight, bias)
    return functional.linear(features, weight).float().add_(bias)  # (N, V)


class _Manner(NamedTuple):
    """The type of the products, and the weighing."""

    dtype: torch.dtype
    label_smoothing: float
    scale: float


class _BlockedCrossEntropy(torch.autograd.Function):
    """Loss and gradient together: grad of the scores is softmax - target, each half on its own.

    A target is (1 - s) of its one-hot and s / V of every word, s the label smoothing.
    """

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        features: Tensor,
        weight: Tensor,
        bias: Tensor,
        targets: Tensor,
        manner: _Manner,
    ) -> Tensor:
        given = Operands(features, weight, bias, targets)
        dtype, smoothing, scale = manner
        losses = _losses(given, manner)
        features_grad, weight_grad, bias_grad = losses[2:]
        seen, summed = features.to(dtype).to(weight.dtype), losses.nats.sum()
        # The targets' half of the scores' gradient: one word a row, and all words alike.
        sharp, spread = (1 - smoothing) * scale, smoothing / len(bias)
        features_grad.sub_(weight[targets].to(dtype), alpha=sharp)
        weight_grad.index_add_(0, targets, seen, alpha=-sharp)
        bias_grad.index_add_(0, targets, torch.ones_like(targets, dtype=bias.dtype), alpha=-sharp)
        if spread:
            words = weight.to(dtype).to(weight.dtype).sum(dim=0)
            of_all = seen.sum(dim=0) @ words + len(targets) * bias.sum()
            summed += smoothing * losses.target_scores.sum() - spread * of_all
            features_grad -= scale * spread * words
            weight_grad -= scale * spread * seen.sum(dim=0)
            bias_grad -= scale * spread * len(targets)
        ctx.save_for_backward(features_grad.to(features.dtype), weight_grad, bias_grad)
        return summed * scale

    @staticmethod
    @once_differentiable
    def backward(
        ctx: torch.autograd.function.FunctionCtx, grad: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, None, None]:
        features_grad, weight_grad, bias_grad = ctx.saved_tensors  # type: ignore[attr-defined]
        # A pass over all words' gradients is spared where it would change nothing; to ask a GPU
        # would take longer.
        if grad.is_cpu and grad == 1:
            return features_grad, weight_grad, bias_grad, None, None
        return features_grad * grad, weight_grad * grad, bias_grad * grad, None, None


def _losses(given: Operands, manner: _Manner) -> Losses:
    """By the kernels where they can, else by torch."""
    weight = given.weight
    is_mixed = manner.dtype == torch.bfloat16 and weight.dtype == torch.float32
    kernels = find_kernels() if is_mixed and weight.is_cpu else None
    found = None if kernels is None else _by_kernels(given, kernels, manner.scale)
    return found or _by_torch(given, manner)


def _by_kernels(given: Operands, kernels: Kernels, scale: float) -> Losses | None:
    """None where a target is so unlikely that the kernels do not tell the words above it apart."""
    found = kernels.cross_entropy(given._replace(features=given.features.float()), scale=scale)
    return found if bool((found.nats < MOST_NATS).all()) else None


def _by_torch(given: Operands, manner: _Manner) -> Losses:
    dtype = manner.dtype
    features, weight = given.features.to(dtype), given.weight.to(dtype)
    nats, target_scores = torch.empty(2, len(features), device=features.device)
    features_grad = torch.empty_like(features, dtype=given.weight.dtype)
    weight_grad, bias_grad = torch.zeros_like(given.weight), torch.zeros_like(given.bias)
    for start in range(0, len(features), BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        scores = _scores(features[rows], weight, given.bias)
        top = scores.amax(dim=1, keepdim=True)
        of_target = scores.gather(1, given.targets[rows, None])
        powers = scores.sub_(top).exp_()  # (N, V), not yet divided by their sums
        total = powers.sum(dim=1, keepdim=True)
        nats[rows] = (total.log() + top - of_target)[:, 0]
        target_scores[rows] = of_target[:, 0]
        # Rows are divided where they are narrow: among the features, not the words.
        share = manner.scale / total
        bias_grad += (share.T @ powers)[0]
        narrow = powers.to(dtype)
        features_grad[rows] = (narrow @ weight) * share
        weight_grad += narrow.T @ (features[rows] * share).to(dtype)
    return Losses(nats, target_scores, features_grad, weight_grad, bias_grad)
