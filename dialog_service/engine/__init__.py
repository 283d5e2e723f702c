"""The fast way through a model for serving, of the same replies as the plain one.

``Engine`` packs a model's weights once, in the precision asked for, and decodes many sequences at
a time; what it computes is ``LatentSeq2Seq``'s, step by step.
"""

from dialog_service.engine.decoding import Decoded, Decoding, Draws
from dialog_service.engine.engine import Engine
from dialog_service.engine.precision import (
    PRECISIONS,
    resolve_float_precision,
    resolve_precision,
)

__all__ = [
    "PRECISIONS",
    "Decoded",
    "Decoding",
    "Draws",
    "Engine",
    "resolve_float_precision",
    "resolve_precision",
]
