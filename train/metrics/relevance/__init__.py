"""The classifier that tells how well a reply fits its post; brings torch along."""

from train.metrics.relevance.learning import Quality
from train.metrics.relevance.scorer import RelevanceScorer
from train.metrics.relevance.settings import RelevanceSettings

__all__ = ["Quality", "RelevanceScorer", "RelevanceSettings"]
