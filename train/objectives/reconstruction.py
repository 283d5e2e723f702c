"""Cross-entropy of the response given z, without a score for every word held at once."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from dialog_service.models.decoder import Decoder
from dialog_service.models.seq2seq import PAD_ID, Batch
from train.kernels import MOST_NATS, Kernels, find_kernels

BLOCK_ROWS = 1024


def reconstruction(
    decoder: Decoder, batch: Batch, features: Tensor, *, label_smoothing: float = 0.0
) -> Tensor:
    """-log p(response | z): summed over the response's tokens, mean over the batch.

    Stochastic WAE (2019), Equation 1, which sums over examples instead. End-of-sequence counts,
    padding does not.

    Args:
        decoder: whose vocabulary layer scores the features.
        batch: B examples.
        features: (B, T, O) of the responses under teacher forcing.
        label_smoothing: share of each target that is spread evenly over the V words.

    Returns:
        () nats per example.
    """
    real = batch.targets != PAD_ID  # (B, T)
    summed = blocked_cross_entropy(
        features[real],
        decoder.output.weight,
        decoder.output.bias,
        batch.targets[real],
        label_smoothing=label_smoothing,
    )
    return summed / len(batch.targets)


def blocked_cross_entropy(
    features: Tensor,
    weight: Tensor,
    bias: Tensor,
    targets: Tensor,
    *,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Summed cross-entropy of a linear layer over V words, a block of rows at a time.

    The gradient is taken in the same pass, so a block's scores live once and are never (N, V)
    for all rows. Products run in autocast's type where it is on, sums in float32.

    Args:
        features: (N, O).
        weight: (V, O).
        bias: (V,).
        targets: (N,) ids.
        label_smoothing: share of each target that is spread evenly over the V words.

    Returns:
        () nats, summed over the rows.
    """
    kind = features.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype
    if torch.is_grad_enabled():
        summed: Tensor = _BlockedCrossEntropy.apply(  # type: ignore[no-untyped-call]
            features, weight, bias, targets, _Manner(dtype, label_smoothing)
        )
        return summed
    features, weight = features.to(dtype), weight.to(dtype)
    blocks = zip(features.split(BLOCK_ROWS), targets.split(BLOCK_ROWS), strict=True)
    scores = ((_scores(block, weight, bias), ids) for block, ids in blocks)
    nats = [
        functional.cross_entropy(score, ids, reduction="sum", label_smoothing=label_smoothing)
        for score, ids in scores
    ]
    return torch.stack(nats).sum()


def _scores(features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    if features.dtype == torch.float32:
        return functional.linear(features, weight, bias)
    return functional.linear(features, weight).float().add_(bias)  # (N, V)


class _Manner(NamedTuple):
    """The type of the products, and the share of each target that is spread over all words."""

    dtype: torch.dtype
    label_smoothing: float


class _Operands(NamedTuple):
    """What is compared: (N, O) features, (V, O) weights, (V,) biases, (N,) targets."""

    features: Tensor
    weight: Tensor
    bias: Tensor
    targets: Tensor


class _Softmax(NamedTuple):
    """Of N rows: (N,) nats of the targets, their (N,) scores, and the gradients of softmax.

    These are of the sum over rows of log sum over words of e^score, like features, weights and
    biases; the targets' half of the gradients is not in them.
    """

    nats: Tensor
    target_scores: Tensor
    features_grad: Tensor
    weight_grad: Tensor
    bias_grad: Tensor


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
        dtype, smoothing = manner
        given = _Operands(features, weight, bias, targets)
        is_mixed = dtype == torch.bfloat16 and weight.dtype == torch.float32
        kernels = find_kernels() if is_mixed and weight.device.type == "cpu" else None
        softmax = None if kernels is None else _by_kernels(given, kernels)
        if softmax is None:
            softmax = _by_torch(given, dtype)
        features_grad, weight_grad, bias_grad = softmax[2:]
        seen, weight_ = features.to(dtype).to(weight.dtype), weight.to(dtype)
        summed = softmax.nats.sum()
        # The targets' half of the scores' gradient: one word a row, and all words alike.
        sharp, spread = 1 - smoothing, smoothing / len(bias)
        features_grad -= sharp * weight_[targets]
        weight_grad.index_add_(0, targets, seen, alpha=-sharp)
        bias_grad.index_add_(0, targets, torch.ones_like(targets, dtype=bias.dtype), alpha=-sharp)
        if spread:
            words = weight_.to(weight.dtype).sum(dim=0)
            of_all = seen.sum(dim=0) @ words + len(targets) * bias.sum()
            summed += smoothing * softmax.target_scores.sum() - spread * of_all
            features_grad -= spread * words
            weight_grad -= spread * seen.sum(dim=0)
            bias_grad -= spread * len(targets)
        ctx.save_for_backward(features_grad.to(features.dtype), weight_grad, bias_grad)
        return summed

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, grad: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, None, None]:
        features_grad, weight_grad, bias_grad = ctx.saved_tensors  # type: ignore[attr-defined]
        return features_grad * grad, weight_grad * grad, bias_grad * grad, None, None


def _by_kernels(given: _Operands, kernels: Kernels) -> _Softmax | None:
    """None where a target is so unlikely that the kernels do not tell the words above it apart."""
    features, *others = given
    found = kernels.cross_entropy(features.float(), *others)
    is_exact = bool((found.nats < MOST_NATS).all())
    return _Softmax(*found) if is_exact else None


def _by_torch(given: _Operands, dtype: torch.dtype) -> _Softmax:
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
        share = total.reciprocal()
        bias_grad += (share.T @ powers)[0]
        narrow = powers.to(dtype)
        features_grad[rows] = (narrow @ weight) * share
        weight_grad += narrow.T @ (features[rows] * share).to(dtype)
    return _Softmax(nats, target_scores, features_grad, weight_grad, bias_grad)
