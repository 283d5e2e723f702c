"""A learned classifier as bytes and back; nothing in them is executed."""

import hashlib
import json
from collections.abc import Sequence

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from safetensors.torch import load, save
from torch import Tensor

from train.data.pairs import Pair
from train.metrics.relevance.calibration import Calibration
from train.metrics.relevance.encoder import DualEncoder
from train.metrics.relevance.features import Features
from train.metrics.relevance.learning import Learned, Quality
from train.metrics.relevance.matcher import Matcher
from train.metrics.relevance.settings import RelevanceSettings

_FORMAT = 2  # raise it when the same pairs and settings come to learn something else
_REST = "rest"


class _Rest(BaseModel):
    """All but the weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    features: tuple[str, ...]
    slope: float
    copying: float
    offset: float
    others: tuple[str, ...]
    quality: Quality


def key_of(pairs: Sequence[Pair], settings: RelevanceSettings, seed: int) -> str:
    """SHA-256 (hex) of all that a classifier depends on."""
    digest = hashlib.sha256(f"{_FORMAT}/{seed}/{settings.model_dump_json()}".encode())
    for pair in pairs:
        said = json.dumps((pair.dialog, pair.context[-1], pair.response))
        digest.update(f"{said}\n".encode())
    return digest.hexdigest()


def packed(learned: Learned) -> bytes:
    """What ``unpacked`` takes."""
    rest = _Rest(
        features=learned.matcher.features.names,
        slope=learned.calibration.slope,
        copying=learned.calibration.copying,
        offset=learned.calibration.offset,
        others=learned.others,
        quality=learned.quality,
    )
    text = np.frombuffer(rest.model_dump_json().encode(), dtype=np.uint8)
    return save({**learned.matcher.encoder.state_dict(), _REST: torch.tensor(text)})


def unpacked(payload: bytes, settings: RelevanceSettings) -> Learned:
    """The classifier, ready to judge."""
    weights: dict[str, Tensor] = load(payload)
    rest = _Rest.model_validate_json(weights.pop(_REST).numpy().tobytes())
    features = Features(rest.features)
    encoder = DualEncoder(max(1, len(features)), settings.width, settings.dropout)
    encoder.load_state_dict(weights)
    return Learned(
        matcher=Matcher(features, encoder.eval()),
        calibration=Calibration(rest.slope, rest.copying, rest.offset),
        others=rest.others,
        quality=rest.quality,
    )
