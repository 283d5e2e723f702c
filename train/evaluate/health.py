"""Measures a checkpoint's likelihood and latent on some of the cases.

With 100 codes a response the likelihood costs a hundred passes of the decoder, so it is measured
on a random part of the cases, all figures on the same; 513 give each the 512 others that the
mutual information is defined with. Every case has noise of its own, fixed by the seed and its
place among all cases, so neither batches nor the other cases chosen change its likelihood.

A case of twenty tokens takes about 0.1 s of one CPU core at the preset small, 0.4 s at paper.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from dialog_service.checkpoint import Checkpoint
from dialog_service.generation import resolve_device
from dialog_service.models.seq2seq import LatentSeq2Seq
from dialog_service.text import normalise
from train.data.batches import TokenisedPairs, tokenise
from train.data.pairs import Pair
from train.metrics.gradients import gradient_norms
from train.metrics.health import ModelHealth
from train.metrics.intervals import Estimate, Sums
from train.metrics.latent import active_units, mutual_information, scale_histogram
from train.metrics.likelihood import (
    Column,
    divergence_from_prior,
    likelihood_figures,
    likelihood_kind,
    negative_log_likelihood,
)
from train.metrics.scoring import Case

_BATCH_CASES = 32
_NO_LIMIT = 2**31


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthOptions:
    """How much is measured: the numbers of Coupled-VAE, appendices D and E.

    ``contexts`` None is every case; ``samples`` codes a response for the likelihood; ``draws`` of
    z against ``others`` for the mutual information; ``gradient_contexts`` for the gradient norms.
    """

    contexts: int | None = 513
    samples: int = 100
    draws: int = 100
    others: int = 512
    gradient_contexts: int = 64
    seed: int = 0
    device: str = "auto"


def measure_health(
    checkpoint: Checkpoint, cases: Sequence[Case], options: HealthOptions, console: Console
) -> ModelHealth:
    """Likelihood and latent of a checkpoint, in float32.

    Contexts are cut as the model takes them, responses not at all: what is scored is the same text
    for every model. Of several responses the first counts.

    Args:
        checkpoint: as loaded; its model is moved to the device and put in evaluation mode.
        cases: one or more; a random part of them is measured.
        options: how much.
        console: for the progress bar.

    Raises:
        ConfigError: an unknown device.
    """
    model = checkpoint.model.eval().to(resolve_device(options.device))
    sample = _sample(checkpoint, cases, options)
    batches = sample.order.split(_BATCH_CASES)
    watched = track(batches, "measuring the likelihood", console=console)
    found = _Measured.joined([_measured(model, sample, rows, options) for rows in watched])
    with console.status("measuring the latent"):
        latent = _latent_figures(found, options)
        gradients = _gradient_norms(model, sample, options)
    likelihood = likelihood_figures(
        _sums(sample, found), has_kl=found.kl is not None, seed=options.seed
    )
    return ModelHealth(
        kind=likelihood_kind(model),
        samples=1 if model.is_deterministic else options.samples,
        contexts=len(sample.cases),
        figures=likelihood | latent,
        posterior_scale=None if model.is_deterministic else scale_histogram(found.scale),
        gradient_norms=gradients,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sample:
    """N cases in random order.

    ``places`` (N,) is where each stands among all cases, ``order`` (N,) takes short responses
    first, so that a batch holds little padding.
    """

    cases: Sequence[Case]
    pairs: TokenisedPairs
    places: Tensor
    order: Tensor

    def noise(self, rows: Tensor, draws: int, size: int, seed: int) -> Tensor:
        """(draws, B, size) standard normal draws on the pairs' device, of each row's own."""
        parts = [
            torch.randn(
                draws, size, generator=_generator(seed * 1_000_003 + int(self.places[row]) + 1)
            )
            for row in rows
        ]
        return torch.stack(parts, dim=1).to(self.pairs.contexts.device)


def _sample(checkpoint: Checkpoint, cases: Sequence[Case], options: HealthOptions) -> _Sample:
    order = torch.randperm(len(cases), generator=_generator(options.seed))
    places = order[: options.contexts]
    chosen = [cases[place] for place in places]
    config = checkpoint.model.config.model_copy(update={"max_response_tokens": _NO_LIMIT})
    texts = [Pair(case.context, case.responses[0], dialog=0) for case in chosen]
    pairs = tokenise(texts, checkpoint.vocabulary, config)
    device = next(checkpoint.model.parameters()).device
    return _Sample(
        cases=chosen,
        pairs=pairs.to(device),
        places=places,
        order=pairs.response_lengths.argsort(stable=True),
    )


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed % 2**63)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measured:
    """What was found of N cases: (N,) nats and (N, Z) beliefs, all float64 and on the CPU."""

    nll: Tensor
    kl: Tensor | None
    loc: Tensor
    scale: Tensor
    prior_loc: Tensor | None

    @classmethod
    def joined(cls, parts: Sequence["_Measured"]) -> "_Measured":
        """The cases of all parts."""
        return cls(
            nll=torch.cat([part.nll for part in parts]),
            kl=_all([part.kl for part in parts]),
            loc=torch.cat([part.loc for part in parts]),
            scale=torch.cat([part.scale for part in parts]),
            prior_loc=_all([part.prior_loc for part in parts]),
        )


def _all(parts: Sequence[Tensor | None]) -> Tensor | None:
    there = [part for part in parts if part is not None]
    return torch.cat(there) if there else None


@torch.no_grad()
def _measured(
    model: LatentSeq2Seq, sample: _Sample, rows: Tensor, options: HealthOptions
) -> _Measured:
    batch = sample.pairs.batch(rows)
    inference = model.infer(batch)
    noise = sample.noise(rows, options.samples, model.config.latent_dim, options.seed)
    kl, prior = divergence_from_prior(inference), inference.prior
    return _Measured(
        nll=negative_log_likelihood(model, batch, inference, noise).cpu(),
        kl=None if kl is None else kl.cpu(),
        loc=inference.posterior.loc.double().cpu(),
        scale=inference.posterior.scale.double().cpu(),
        prior_loc=None if prior is None else prior.loc.double().cpu(),
    )


def _sums(sample: _Sample, found: _Measured) -> Sums:
    """(D, 5) sums over the sample's dialogues."""
    cases = [sample.cases[row] for row in sample.order]
    rows = np.zeros((len(cases), len(Column)))
    rows[:, Column.RESPONSES] = 1
    rows[:, Column.TOKENS] = sample.pairs.response_lengths[sample.order].numpy()
    rows[:, Column.CHARACTERS] = [len(normalise(case.responses[0])) for case in cases]
    rows[:, Column.NLL] = found.nll.numpy()
    if found.kl is not None:
        rows[:, Column.KL] = found.kl.numpy()
    names = sorted({case.dialogue for case in cases})
    number = {name: place for place, name in enumerate(names)}
    sums = np.zeros((len(names), len(Column)))
    np.add.at(sums, [number[case.dialogue] for case in cases], rows)
    return sums


def _latent_figures(found: _Measured, options: HealthOptions) -> dict[str, Estimate]:
    """Those that the latent has; all need two cases, and information a density."""
    if len(found.loc) < 2 or not found.loc.shape[1]:
        return {}
    figures = {"active_units": float(active_units(found.loc))}
    if found.prior_loc is not None and (found.prior_loc != found.prior_loc[0]).any():
        figures["active_units_beyond_prior"] = float(active_units(found.loc - found.prior_loc))
    if (found.scale > 0).all():
        information = mutual_information(
            found.loc,
            found.scale,
            draws=options.draws,
            others=options.others,
            generator=_generator(options.seed),
        )
        figures["mi"] = float(information.mean())
    return {name: Estimate(value) for name, value in figures.items() if math.isfinite(value)}


def _gradient_norms(
    model: LatentSeq2Seq, sample: _Sample, options: HealthOptions
) -> dict[str, float]:
    """Means over some of the sample's cases."""
    count = min(options.gradient_contexts, len(sample.cases))
    parts = []
    for rows in torch.arange(count).split(_BATCH_CASES):
        noise = sample.noise(rows, 1, model.config.latent_dim, options.seed)[0]
        parts.append(gradient_norms(model, sample.pairs.batch(rows), noise))
    names = parts[0] if parts else ()
    means = {name: float(torch.cat([part[name] for part in parts]).mean()) for name in names}
    return {name: value for name, value in means.items() if math.isfinite(value)}
