"""What is known of a model besides its replies: likelihood, and what its latent carries.

Documents of the report alone, free of torch; ``likelihood`` and ``latent`` say how the figures come
about, ``train.evaluate.health`` measures them.
"""

from typing import Literal

from train.metrics.document import Document
from train.metrics.intervals import Estimate

LikelihoodKind = Literal["importance", "predictive", "exact"]


class Histogram(Document):
    """Counts between neighbouring edges: one edge more than counts."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]


class ModelHealth(Document):
    """Likelihood and latent of one model, measured on some of the test pairs.

    ``kind`` is how the likelihood was had: by importance sampling where the posterior sees the
    response, as the mean over codes of the post where it does not, exactly where a post has one
    code; ``samples`` is the codes per response, ``contexts`` the pairs measured.

    ``figures``, of which a model has some: ``nll`` and ``kl`` in nats per response, ``ppl`` per
    token, ``bits_per_char``, ``mi`` in nats, ``active_units`` and, beyond a prior that moves with
    the context, ``active_units_beyond_prior``.

    ``posterior_scale`` counts deviations over all dimensions and pairs, None for a point mass.

    ``gradient_norms``, of Coupled-VAE section 3.1 with respect to the encoded text, of which a
    model has some: ``reconstruction``, ``kl``, and ``signal`` relative to the signal's own norm.
    """

    kind: LikelihoodKind
    samples: int
    contexts: int
    figures: dict[str, Estimate]
    posterior_scale: Histogram | None
    gradient_norms: dict[str, float]
