"""Fitting a matcher, which tells how well replies fit, to a model that is trained.

It is kept apart from the judge of ``train.metrics.relevance``, by which replies are scored: the
two share no parameter and see other features, though they learn from the same pairs.
"""

from train.matching.fitting import example_options, with_matcher
from train.matching.learning import Quality
from train.matching.settings import MatchingSettings

__all__ = ["MatchingSettings", "Quality", "example_options", "with_matcher"]
