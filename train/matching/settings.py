"""How a matcher is fitted."""

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from dialog_service.models.config import Config, MatcherConfig


class MatchingSettings(Config):
    """Sizes and rates; ``first_scale`` makes logits of cosines when learning begins."""

    matcher: MatcherConfig = MatcherConfig()
    epochs: PositiveInt = 8
    batch_size: int = Field(default=512, ge=2)
    learning_rate: PositiveFloat = 2e-3
    weight_decay: NonNegativeFloat = 1e-2
    first_scale: PositiveFloat = 15.0
    seed: NonNegativeInt = 0
