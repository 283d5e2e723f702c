"""From the signal and the words so far to a distribution over the next word."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from dialog_service.models.affine import RowsLinear
from dialog_service.models.bridge import Bridge, joined
from dialog_service.models.config import DecoderConfig
from dialog_service.models.dropout import Dropout
from dialog_service.models.recurrence import State, build_recurrence, product


def real_places(lengths: Tensor, width: int) -> Tensor:
    """Where real tokens are in (B, width) ids of (B,) lengths, flattened: (N,), row after row."""
    is_real = torch.arange(width, device=lengths.device) < lengths[:, None]
    return is_real.flatten().nonzero().squeeze(1)


class Decoder(nn.Module):
    """One recurrence from a zero state, and the map from its states to words.

    ``features`` stops before the vocabulary: training compares (N, O) features with the words
    block by block and never holds all (N, V) scores; decoding scores one step at a time.
    Where the bridge says so, the signal takes the place of the begin-of-sequence embedding.
    """

    def __init__(self, config: DecoderConfig, embedding: nn.Embedding, bridge: Bridge) -> None:
        """Build the decoder over a shared embedding table and for a bridge's signal."""
        super().__init__()
        self.embedding = embedding
        self.is_signal_first_word = bridge.is_first_word
        self.recurrence = build_recurrence(
            config.kind, embedding.embedding_dim + bridge.signal_size, config.hidden_size
        )
        self.dropout = Dropout(config.dropout)
        self.output_dropout = Dropout(config.output_dropout)
        self.projection, self.activation, self.output = _head(config, embedding)

    def features(self, inputs: Tensor, lengths: Tensor, signal: Tensor) -> Tensor:
        """What the vocabulary layer sees, under teacher forcing.

        Args:
            inputs: (B, T) ids, begin-of-sequence first.
            lengths: (B,) real tokens per row.
            signal: (B, G), from the bridge.

        Returns:
            (N, O) of the real tokens, row after row.
        """
        given = self.dropout(joined(self.embedding(inputs), signal))
        if self.is_signal_first_word:
            first = joined(signal, signal)[:, None].to(given.dtype)  # (B, 1, 2E)
            given = torch.cat([first, given[:, 1:]], dim=1)
        hidden = self.recurrence.sequence(given, lengths).flatten(0, 1)  # (B T, H)
        real = hidden[real_places(lengths, inputs.shape[1])]  # (N, H)
        features: Tensor = self.activation(self.projection(self.output_dropout(real)))
        return features

    def logits(self, features: Tensor) -> Tensor:
        """Scores of the words for features (..., O): (..., V)."""
        scores: Tensor = self.output(features)
        return scores

    def start(self, signal: Tensor) -> State:
        """The state before the first word, for (B, G) signals."""
        return self.recurrence.zero_state(signal)

    def first_step(self, previous: Tensor, signal: Tensor, state: State) -> tuple[Tensor, State]:
        """Scores of the first word; as ``step``."""
        embedded = signal if self.is_signal_first_word else self.embedding(previous)
        return self._scored(joined(embedded, signal), state)

    def step(self, previous: Tensor, signal: Tensor, state: State) -> tuple[Tensor, State]:
        """Scores of the next word; equal to ``logits(features(...))`` at the same place.

        Args:
            previous: (B,) ids of the words before.
            signal: (B, G).
            state: as returned by ``first_step`` or ``step``.

        Returns:
            (B, V) float32 scores, and the state after.
        """
        return self._scored(joined(self.embedding(previous), signal), state)

    def _scored(self, given: Tensor, state: State) -> tuple[Tensor, State]:
        state = self.recurrence.step(given, state)
        features = state[0]
        if isinstance(self.projection, RowsLinear):
            features = product(features, self.projection.weight, self.projection.bias)
        features = self.activation(features)
        return product(features, self.output.weight, self.output.bias), state


class _Head(NamedTuple):
    """From hidden states to words: (.., H) -> (.., O) -> (.., O) -> (.., V)."""

    projection: RowsLinear | nn.Identity
    activation: nn.Tanh | nn.Identity
    output: nn.Linear


def _head(config: DecoderConfig, embedding: nn.Embedding) -> _Head:
    """The one place that reads ``decoder.kind``, but for the kind of recurrence."""
    size, (words, width) = config.hidden_size, embedding.weight.shape
    match config.kind:
        case "gru":
            projection = RowsLinear(size, config.projection_size)
            head = _Head(projection, nn.Tanh(), nn.Linear(config.projection_size, words))
        case "lstm" if config.tied_output:
            head = _Head(RowsLinear(size, width), nn.Identity(), nn.Linear(width, words))
            head.output.weight = embedding.weight
        case "lstm":
            head = _Head(nn.Identity(), nn.Identity(), nn.Linear(size, words))
    nn.init.zeros_(head.output.bias)
    return head


def build_decoder(config: DecoderConfig, embedding: nn.Embedding, bridge: Bridge) -> Decoder:
    """The decoder of a config; ``build_recurrence`` and ``_head`` read its kind."""
    return Decoder(config, embedding, bridge)
