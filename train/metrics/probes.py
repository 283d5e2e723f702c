"""What was tried on a model besides its table: other decodings, replies, codes in between.

Documents alone; ``train.evaluate.probes`` fills them.
"""

from typing import Literal

from train.metrics.document import Document
from train.metrics.intervals import Estimate
from train.metrics.null_rows import Role

Axis = Literal["temperature", "top_p", "latent_scale", "relevance_weight"]


class FrontierPoint(Document):
    """The model's figures, by ``Metric.key``, with one value moved and the rest kept."""

    axis: Axis
    value: float
    figures: dict[str, Estimate]


class Anchor(Document):
    """A row of the table, such as human, on the contexts of the frontier: Dist needs the same."""

    name: str
    role: Role
    figures: dict[str, Estimate]


class Sample(Document):
    """One context, the response a person gave, and the replies of each system by its name."""

    context: tuple[str, ...]
    response: str
    replies: dict[str, tuple[str, ...]]


class Interpolation(Document):
    """Greedy replies to one context along the line between two draws of z, ends included."""

    context: tuple[str, ...]
    steps: tuple[str, ...]


class Probes(Document):
    """All that was tried; ``contexts`` of the test set were answered at each frontier point."""

    frontier: tuple[FrontierPoint, ...] = ()
    samples: tuple[Sample, ...] = ()
    interpolations: tuple[Interpolation, ...] = ()
    anchors: tuple[Anchor, ...] = ()
    contexts: int | None = None
