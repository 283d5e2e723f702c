"""From z and the words so far to a distribution over the next word."""

from torch import Tensor, nn

from dialog_service.models.bridge import EveryStepBridge
from dialog_service.models.config import DecoderConfig
from dialog_service.models.dropout import Dropout
from dialog_service.models.recurrence import Recurrence, State, product


class LstmDecoder(nn.Module):
    """One-layer LSTM from a zero state, and the map from its states to words.

    ``features`` stops before the vocabulary: training compares (B T, O) features with the words
    block by block and never holds all (B, T, V) scores; decoding scores one step at a time.
    """

    def __init__(self, config: DecoderConfig, embedding: nn.Embedding, bridge: EveryStepBridge):
        """Build the decoder over a shared embedding table."""
        super().__init__()
        self.embedding = embedding
        self.bridge = bridge
        self.recurrence = Recurrence(bridge.input_size, config.hidden_size)
        self.dropout = Dropout(config.dropout)
        self.output_dropout = Dropout(config.output_dropout)
        width = embedding.embedding_dim if config.tied_output else config.hidden_size
        self.projection = (
            nn.Linear(config.hidden_size, width) if config.tied_output else nn.Identity()
        )
        self.output = nn.Linear(width, embedding.num_embeddings)
        nn.init.zeros_(self.output.bias)
        if config.tied_output:
            self.output.weight = embedding.weight

    def features(self, inputs: Tensor, lengths: Tensor, z: Tensor) -> Tensor:
        """What the vocabulary layer sees, under teacher forcing.

        Args:
            inputs: (B, T) ids, begin-of-sequence first.
            lengths: (B,) real tokens per row.
            z: (B, Z).

        Returns:
            (B, T, O); undefined at padding.
        """
        joined = self.dropout(self.bridge(self.embedding(inputs), z))
        hidden = self.recurrence.sequence(joined, lengths)  # (B, T, H)
        features: Tensor = self.projection(self.output_dropout(hidden))
        return features

    def logits(self, features: Tensor) -> Tensor:
        """Scores of the words for features (..., O): (..., V)."""
        scores: Tensor = self.output(features)
        return scores

    def start(self, z: Tensor) -> State:
        """The state before the first word, for (B, Z) codes."""
        return self.recurrence.zero_state(z)

    def step(self, previous: Tensor, z: Tensor, state: State) -> tuple[Tensor, State]:
        """Scores of the next word; equal to ``logits(features(...))`` at the same place.

        Args:
            previous: (B,) ids of the words before.
            z: (B, Z).
            state: as returned by ``start`` or ``step``.

        Returns:
            (B, V) float32 scores, and the state after.
        """
        joined = self.bridge(self.embedding(previous), z)
        hidden, cell = self.recurrence.step(joined, state)
        features = hidden
        if isinstance(self.projection, nn.Linear):
            features = product(hidden, self.projection.weight, self.projection.bias)
        return product(features, self.output.weight, self.output.bias), (hidden, cell)


def build_decoder(
    config: DecoderConfig, embedding: nn.Embedding, bridge: EveryStepBridge
) -> LstmDecoder:
    """The decoder of a config: the one place that reads ``decoder.kind``."""
    match config.kind:
        case "lstm":
            return LstmDecoder(config, embedding, bridge)
