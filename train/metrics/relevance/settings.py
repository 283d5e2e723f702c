"""How the relevance classifier is made; part of what its cache is filed under."""

from pydantic import BaseModel, ConfigDict, Field


class RelevanceSettings(BaseModel):
    """Sizes and rates; ``max_pairs`` and ``max_steps`` bound the time on a large corpus."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: int = Field(default=128, ge=1)
    dropout: float = Field(default=0.3, ge=0, lt=1)
    least_words: int = Field(default=4, ge=1)
    least_pairs: int = Field(default=15, ge=1)
    feature_dropout: float = Field(default=0.55, ge=0, lt=1)
    batch_size: int = Field(default=512, ge=2)
    epochs: int = Field(default=6, ge=1)
    max_pairs: int = Field(default=100_000, ge=2)
    max_steps: int = Field(default=1200, ge=1)
    embedding_rate: float = Field(default=1e-2, gt=0)
    layer_rate: float = Field(default=1e-3, gt=0)
    held_out_share: float = Field(default=0.05, gt=0, lt=1)
