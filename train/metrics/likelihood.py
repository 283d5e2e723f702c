"""What responses cost a model, in nats: exactly, by importance sampling, or as a mean over codes.

The response is scored whole, with its end of sequence and however long it is, so that models of
different limits and tokenisers are asked the same; a word that the vocabulary lacks is scored as
the unknown word. Knows nothing of corpora and files.
"""

import enum
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.distributions.kl import kl_divergence
from torch.nn import functional

from dialog_service.models.distributions import DiagonalGaussian
from dialog_service.models.seq2seq import Batch, Inference, LatentSeq2Seq
from train.metrics.health import LikelihoodKind
from train.metrics.intervals import Estimate, Sums, bootstrap, resampled_sums

DECODED_TOKENS = 8192  # steps of all rows, decoded at once
SCORED_TOKENS = 512  # of them, scored at once: as many rows of scores are held
_LARGEST_EXPONENT = 700.0


def likelihood_kind(model: LatentSeq2Seq) -> LikelihoodKind:
    """How the likelihood of a model can be had.

    A point mass has no density, so with one code per post the likelihood is that given the code.
    A posterior that never saw the response is no proposal for importance sampling: its mean over
    codes is itself the distribution that the model replies from.
    """
    if model.is_deterministic:
        return "exact"
    return "importance" if model.config.posterior_sees_response else "predictive"


def negative_log_likelihood(
    model: LatentSeq2Seq, batch: Batch, inference: Inference, noise: Tensor
) -> Tensor:
    """-log p(response | context), estimated from K codes.

    Coupled-VAE (2020), Equation 11: -log( 1/K sum_k p(z_k | c) p(r | z_k, c) / q(z_k | c, r) );
    where q does not see the response, without the densities of z; with one code a post, exact.

    Args:
        model: in evaluation mode.
        batch: B responses.
        inference: what the model infers from the batch.
        noise: (K, B, Z) standard normal draws; their number does not matter to a point mass.

    Returns:
        (B,) float64 nats.
    """
    posterior = inference.posterior
    if not isinstance(posterior, DiagonalGaussian):
        return response_nats(model, batch, posterior.loc[None], inference.context)[0]
    z = posterior.loc + posterior.scale * noise  # (K, B, Z)
    log_weights = -response_nats(model, batch, z, inference.context)
    if likelihood_kind(model) == "importance":
        assert inference.prior is not None  # ModelConfig refuses a density without a prior
        log_weights += _log_density(inference.prior, z) - _log_density(posterior, z)
    return math.log(len(z)) - log_weights.logsumexp(dim=0)


def response_nats(model: LatentSeq2Seq, batch: Batch, z: Tensor, context: Tensor) -> Tensor:
    """-log p(response | z, context), summed over the tokens; padding costs nothing.

    Args:
        model: which decodes some codes at a time, and scores some tokens at a time.
        batch: B responses.
        z: (K, B, Z) codes.
        context: (B, C) encoder states, the same for all codes of a response.

    Returns:
        (K, B) float64 nats.
    """
    share = max(1, DECODED_TOKENS // batch.targets.numel())
    return torch.cat([_some_nats(model, batch, codes, context) for codes in z.split(share)])


def _some_nats(model: LatentSeq2Seq, batch: Batch, z: Tensor, context: Tensor) -> Tensor:
    draws = len(z)
    repeated = Batch(*(_repeated(part, draws) for part in batch))
    features = model.features(repeated, z.flatten(0, 1), _repeated(context, draws))  # (N, O)
    real, targets = repeated.real, repeated.targets
    ids = targets.flatten()[real]
    blocks = zip(features.split(SCORED_TOKENS), ids.split(SCORED_TOKENS), strict=True)
    losses = [
        functional.cross_entropy(model.decoder.logits(block).float(), ids, reduction="none")
        for block, ids in blocks
    ]
    nats = torch.zeros(targets.numel(), dtype=torch.float64, device=z.device)
    nats[real] = torch.cat(losses).double()
    return nats.view(targets.shape).sum(dim=1).view(draws, -1)


def divergence_from_prior(inference: Inference) -> Tensor | None:
    """KL( q || p ) in closed form: (B,) float64 nats, None where either has no density."""
    posterior, prior = inference.posterior, inference.prior
    if prior is None or not isinstance(posterior, DiagonalGaussian):
        return None
    kl: Tensor = kl_divergence(_double(posterior), _double(prior))
    return kl


def _repeated(part: Tensor, draws: int) -> Tensor:
    """``draws`` copies of the rows, one after the other."""
    return part.repeat(draws, *[1] * (part.dim() - 1))


def _double(belief: DiagonalGaussian) -> DiagonalGaussian:
    return DiagonalGaussian(belief.loc.double(), belief.scale.double())


def _log_density(belief: DiagonalGaussian, z: Tensor) -> Tensor:
    """(K, B) float64 nats."""
    density: Tensor = _double(belief).log_prob(z.double())  # type: ignore[no-untyped-call]
    return density


class Column(enum.IntEnum):
    """Places of what is summed over a dialogue's responses."""

    RESPONSES = 0
    TOKENS = 1  # end of sequence counted
    CHARACTERS = 2  # of the normalised text
    NLL = 3
    KL = 4


def likelihood_figures(dialogues: Sums, *, has_kl: bool, seed: int) -> dict[str, Estimate]:
    """Figures of summed nats with their 95% intervals; one that is not finite is left out.

    Args:
        dialogues: (D, 5) sums over each dialogue's responses, by ``Column``.
        has_kl: whether the model has a divergence to speak of.
        seed: of the bootstrap over dialogues.
    """
    total = dialogues.sum(axis=0)
    if not np.isfinite(total).all():
        return {}
    resamples = resampled_sums(dialogues, seed=seed)
    wanted: dict[str, Callable[[Sums], float]] = {
        "nll": _ratio(Column.NLL, Column.RESPONSES),
        "ppl": lambda sums: _exp(_ratio(Column.NLL, Column.TOKENS)(sums)),
        "bits_per_char": lambda sums: _ratio(Column.NLL, Column.CHARACTERS)(sums) / math.log(2),
    }
    if has_kl:
        wanted["kl"] = _ratio(Column.KL, Column.RESPONSES)
    figures = {name: bootstrap(total, resamples, figure) for name, figure in wanted.items()}
    return {name: found for name, found in figures.items() if math.isfinite(found.value)}


def _ratio(part: Column, whole: Column) -> Callable[[Sums], float]:
    return lambda sums: float(sums[part] / sums[whole]) if sums[whole] else math.nan


def _exp(nats: float) -> float:
    return math.exp(nats) if nats < _LARGEST_EXPONENT else math.nan
