"""How much the latent's encoder hears from the rest: gradients with respect to the encoded text.

Coupled-VAE (2020), section 3.1. The encoded text e is what the posterior is given; only what
reaches it through z counts, so that a context's own way to the decoder does not hide a silent z.
"""

import torch
from torch import Tensor

from dialog_service.models.seq2seq import Batch, Inference, LatentSeq2Seq
from train.metrics.likelihood import divergence_from_prior, response_nats


def gradient_norms(model: LatentSeq2Seq, batch: Batch, noise: Tensor) -> dict[str, Tensor]:
    """Norms for each example, those that the model has.

    ``reconstruction``: || d rec / d e ||_2, rec = -log p(r | z, c) in nats, one draw of z.
    ``kl``: || d KL(q || p) / d e ||_2, whatever weight the KL has in training, if any.
    ``signal``: || d h / d e ||_F / || h ||_2, where h is what z becomes for the decoder.

    Args:
        model: in evaluation mode; its parameters' gradients are left alone.
        batch: B examples.
        noise: (B, Z) standard normal draws.

    Returns:
        (B,) tensors by name; none where there is no z.
    """
    with torch.no_grad():
        given = model.infer(batch)
    code = model.bridge.code
    if code is None:
        return {}
    # The library's fused kernels on a GPU have no backward pass in evaluation mode.
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
        seen = given.seen.detach().requires_grad_()
        posterior = model.posterior(seen)
        inference = Inference(
            context=given.context, seen=seen, posterior=posterior, prior=given.prior
        )
        z = posterior.loc + posterior.scale * noise
        rec = response_nats(model, batch, z[None], given.context)
        norms = {"reconstruction": _slope(rec, seen).norm(dim=1)}
        kl = divergence_from_prior(inference)
        if kl is not None:
            norms["kl"] = _slope(kl, seen).norm(dim=1)
        signal = code(z)  # (B, G)
        rows = torch.stack([_slope(column, seen) for column in signal.unbind(dim=1)])  # (G, B, P)
        norms["signal"] = rows.square().sum(dim=(0, 2)).sqrt() / signal.norm(dim=1)
    return {name: values.detach().double() for name, values in norms.items()}


def _slope(values: Tensor, at: Tensor) -> Tensor:
    """The gradient of every example's own value, (B, P): examples do not touch each other."""
    (slope,) = torch.autograd.grad(values.sum(), at, retain_graph=True)
    return slope
