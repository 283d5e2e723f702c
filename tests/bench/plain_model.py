"""WED-S as one would write it with the library's own layers: what the engine is held against.

Random weights, for speed alone. Every reply runs to the limit of tokens.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

BEGIN = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainSizes:
    """Stochastic WAE's for dialog, with a decoder of 500 units."""

    words: int = 20_000
    embedding: int = 300
    hidden: int = 500
    latent: int = 300
    tokens: int = 20


PAPER = PlainSizes()


class PlainModel(nn.Module):
    """Bidirectional encoder, Gaussian code, decoder that is given the code at every step."""

    def __init__(self, sizes: PlainSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.embedding = nn.Embedding(sizes.words, sizes.embedding)
        self.encoder = nn.LSTM(sizes.embedding, sizes.hidden, batch_first=True, bidirectional=True)
        self.loc = nn.Linear(2 * sizes.hidden, sizes.latent)
        self.log_scale = nn.Linear(2 * sizes.hidden, sizes.latent)
        self.decoder = nn.LSTMCell(sizes.embedding + sizes.latent, sizes.hidden)
        self.output = nn.Linear(sizes.hidden, sizes.words)

    @torch.inference_mode()
    def replies(self, contexts: Tensor, count: int) -> Tensor:
        """(B, S) ids -> (B, count, T) greedy tokens, each reply of another draw of the code."""
        _, (last, _) = self.encoder(self.embedding(contexts))
        encoded = last.transpose(0, 1).flatten(1)  # (B, 2H)
        loc, scale = self.loc(encoded), self.log_scale(encoded).exp()
        noise = torch.randn(count, *loc.shape)
        z = (loc + scale * noise).transpose(0, 1).flatten(0, 1)  # (B count, Z)
        words = torch.full((len(z),), BEGIN)
        hidden = cell = z.new_zeros(len(z), self.sizes.hidden)
        said = []
        for _ in range(self.sizes.tokens):
            given = torch.cat([self.embedding(words), z], dim=1)
            hidden, cell = self.decoder(given, (hidden, cell))
            words = self.output(hidden).argmax(dim=1)
            said.append(words)
        return torch.stack(said, dim=1).view(len(contexts), count, -1)
