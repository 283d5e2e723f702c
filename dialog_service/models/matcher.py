"""How well a reply fits a context, by two small networks over what the encoder makes of each.

A dual encoder (Henderson et al., 2017, "Efficient Natural Language Response Suggestion for Smart
Reply", section 4), whose texts are read by the encoder that the model has anyway. It is fitted to a
model that is trained; generating knows nothing of it.
"""

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding_bag, normalize

from dialog_service.models.config import MatcherConfig
from dialog_service.models.dropout import Dropout


class Tower(nn.Module):
    """One side: (B, F) features of texts -> (B, M) unit vectors."""

    def __init__(self, config: MatcherConfig, feature_size: int) -> None:
        """Two layers over normalised features."""
        super().__init__()
        self.norm = nn.LayerNorm(feature_size)
        self.hidden = nn.Linear(feature_size, config.hidden_size)
        self.output = nn.Linear(config.hidden_size, config.output_size)
        self.dropout = Dropout(config.dropout)

    def forward(self, features: Tensor) -> Tensor:
        """(B, F) -> (B, M)."""
        hidden = torch.relu(self.hidden(self.dropout(self.norm(features))))
        return normalize(self.output(self.dropout(hidden)), dim=1)


class Matcher(nn.Module):
    """A tower for contexts, one for replies, and what makes a probability of their cosine."""

    def __init__(self, config: MatcherConfig, feature_size: int) -> None:
        """Unlearned."""
        super().__init__()
        self.contexts = Tower(config, feature_size)
        self.replies = Tower(config, feature_size)
        self.slope = nn.Parameter(torch.tensor(10.0))
        self.offset = nn.Parameter(torch.tensor(0.0))

    def relevance(self, contexts: Tensor, replies: Tensor) -> Tensor:
        """The probability that each reply is the response, were that as likely as a random one.

        Args:
            contexts: (B, M) vectors of ``self.contexts``.
            replies: (B, M) vectors of ``self.replies``.

        Returns:
            (B,) between 0 and 1.
        """
        cosine = (contexts * replies).sum(dim=1)  # (B,)
        return torch.sigmoid(self.slope * cosine + self.offset)


def text_features(states: Tensor, table: Tensor, texts: Sequence[Sequence[int]]) -> Tensor:
    """What a tower sees of B texts; a text's bits do not depend on the others.

    Args:
        states: (B, C) what the model's encoder makes of them.
        table: (V, E) the model's embeddings.
        texts: their ids, at least one each.

    Returns:
        (B, F), F = C + E: the state, and the mean of the embeddings.
    """
    ids = torch.tensor([token for text in texts for token in text], device=table.device)
    starts = torch.tensor([0, *accumulate(map(len, texts[:-1]))], device=table.device)
    return torch.cat([states, embedding_bag(ids, table, starts, mode="mean")], dim=1)
