"""A post and a reply each become a vector; the nearer the two, the better the reply fits.

Henderson et al. (2017), "Efficient Natural Language Response Suggestion for Smart Reply", section
4: n-gram embeddings are summed, a small network per side, the score is a dot product.
Departures: vectors are of unit length and the sum is divided by the root of the number of n-grams,
so that a long reply is not near to everything; a linear path runs beside each network.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from train.metrics.relevance.bags import Bags

_START_SCALE = 15.0


class Tower(nn.Module):
    """One side: (B, D) sums of embeddings -> (B, D) unit vectors."""

    def __init__(self, features: int, width: int, dropout: float) -> None:
        """An embedding per feature and two layers, with a linear path beside them."""
        super().__init__()
        self.width = width
        self.embedding = nn.EmbeddingBag(features, width, mode="sum", sparse=True)
        nn.init.normal_(self.embedding.weight, std=0.1)
        self.linear = nn.Linear(width, width)
        self.network = nn.Sequential(
            nn.Linear(width, 2 * width),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(2 * width, width),
        )

    def forward(self, bags: Bags) -> Tensor:
        """B bags -> (B, D)."""
        total = self.embedding(torch.from_numpy(bags.ids), torch.from_numpy(bags.starts))
        count = torch.from_numpy(bags.lengths).clamp(min=1)
        mean = total / count[:, None].sqrt()  # (B, D)
        return normalize(self.linear(mean) + self.network(mean), dim=1)


class DualEncoder(nn.Module):
    """A tower for posts, one for replies, and the scale that makes logits of cosines."""

    def __init__(self, features: int, width: int, dropout: float) -> None:
        """Unlearned."""
        super().__init__()
        self.posts = Tower(features, width, dropout)
        self.replies = Tower(features, width, dropout)
        self.log_scale = nn.Parameter(torch.tensor(_START_SCALE).log())
