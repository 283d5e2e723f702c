"""What a validation pass measures: every loss term, and whether z still carries the post."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from dialog_service.checkpoint import Checkpoint
from dialog_service.generation import GenerationRequest, Generator
from dialog_service.models.seq2seq import ModelOutput
from train.data.batches import TokenisedPairs, in_order
from train.metrics.latent import ACTIVE_VARIANCE
from train.objectives.objective import Losses, Step, TrainingPass

MUTE_LATENT_NATS = 1.0
MUTE_POINT_VARIANCE = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """Means over the validation pairs; nats per example unless the name says otherwise.

    ``objective`` weighs every term as the end of the run will, whatever its schedule, so that
    epochs compare, and leaves out terms that train parts which are not served: it is the metric
    that chooses the best checkpoint. A sigmoid's end is not known before it has stopped: it counts
    as far as it has come, and until it ``is_settled`` a later epoch is the better one.
    ``channel_nats`` bounds what z can tell beyond the prior: 1/2 sum_j ln(1 + var_j /
    E[scale_j^2]), infinite where a point mass moves at all. The latent's figures are not finite
    where there is no z.
    """

    objective: float
    is_settled: bool
    nll: float
    nll_per_token: float
    terms: dict[str, float]
    posterior_scale: float
    latent_variance: float
    active_units: int
    channel_nats: float

    @property
    def is_latent_mute(self) -> bool:
        """Whether z has stopped carrying the post.

        No prior sets the size of a noiseless code, so that one only has to move at all.
        """
        if math.isnan(self.latent_variance):
            return False
        if self.posterior_scale == 0:
            return self.latent_variance < MUTE_POINT_VARIANCE
        return self.active_units == 0 or self.channel_nats < MUTE_LATENT_NATS

    def figures(self) -> dict[str, float]:
        """Every finite figure by name, as logged and as saved: JSON knows no others."""
        named = {
            "objective": self.objective,
            "nll": self.nll,
            "nll_per_token": self.nll_per_token,
            **self.terms,
            "posterior_scale": self.posterior_scale,
            "latent_variance": self.latent_variance,
            "active_units": float(self.active_units),
            "channel_nats": self.channel_nats,
        }
        return {name: value for name, value in named.items() if math.isfinite(value)}


@torch.no_grad()
def validate(training_pass: TrainingPass, pairs: TokenisedPairs, *, batch_size: int) -> Validation:
    """Measure a model on every pair, z drawn once per pair with a fixed seed.

    The caller's random state and the model's mode are left as they were.
    """
    was_training = training_pass.training
    training_pass.eval()
    devices = [pairs.contexts.device] if pairs.contexts.is_cuda else []
    try:
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(0)
            return _measured(training_pass, pairs, batch_size)
    finally:
        training_pass.train(was_training)


def _measured(training_pass: TrainingPass, pairs: TokenisedPairs, batch_size: int) -> Validation:
    sums: dict[str, Tensor] = {}
    locs, squared_scales, scales = [], [], []
    for rows in in_order(len(pairs), batch_size):
        losses, output = training_pass.measured(pairs.batch(rows), Step(progress=1.0))
        for name, value in _named(losses).items():
            sums[name] = sums.get(name, torch.zeros(())) + value.double().cpu() * len(rows)
        locs.append(_told(output))
        scales.append(output.posterior.scale.float().mean(1))
        squared_scales.append(output.posterior.scale.float().square())
    means = {name: float(value) / len(pairs) for name, value in sums.items()}
    variance = _variance(torch.cat(locs))
    noise = torch.cat(squared_scales).mean(dim=0)  # (Z,)
    nll = means.pop("nll")
    return Validation(
        objective=means.pop("objective"),
        is_settled=training_pass.objective.is_settled,
        nll=nll,
        nll_per_token=nll / pairs.mean_target_tokens,
        terms=means,
        posterior_scale=float(torch.cat(scales).mean()),
        latent_variance=float(variance.mean()),
        active_units=int((variance > ACTIVE_VARIANCE).sum()),
        channel_nats=_channel_nats(variance, noise),
    )


def _variance(rows: Tensor) -> Tensor:
    """(Z,) unbiased variance over (N, Z) rows; torch's own warns where Z is 0."""
    return rows.var(dim=0) if rows.shape[1] else rows.new_zeros(0)


def _told(output: ModelOutput) -> Tensor:
    """(B, Z) where z is centred, less what the prior has told of the context already."""
    loc, prior = output.posterior.loc.float(), output.prior
    return loc if prior is None else loc - prior.loc.float()


def _channel_nats(variance: Tensor, noise: Tensor) -> float:
    """Capacity of Z parallel Gaussian channels from (Z,) variances; one that is still has none."""
    if not len(variance):
        return math.nan
    moving = variance > 0
    return float(torch.log1p(variance[moving] / noise[moving]).sum() / 2)


def _named(losses: Losses) -> dict[str, Tensor]:
    return {"objective": losses.judgement, "nll": losses.reconstruction, **losses.terms}


def sample_replies(checkpoint: Checkpoint, posts: list[str], *, count: int = 3) -> list[list[str]]:
    """A few replies to each post with the model's own defaults, for a person to look at."""
    training = checkpoint.model.training
    device = next(checkpoint.model.parameters()).device
    with torch.autocast(device.type, enabled=False):
        generator = Generator(checkpoint, device=str(device), precision="fp32")
        requests = [
            GenerationRequest(turns=(post,), reply_count=count, sampling=generator.defaults, seed=0)
            for post in posts
        ]
        results = generator.generate(requests)
    checkpoint.model.train(training)
    return [[c.text for c in result.candidates] if result else [] for result in results]
