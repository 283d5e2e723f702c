"""What every recurrent layer offers, and the arithmetic that they share."""

from abc import ABC, abstractmethod
from typing import ClassVar, Literal, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from dialog_service.models.recurrence.layout import Layout, layout

CellKind = Literal["lstm", "gru"]

State = tuple[Tensor, ...]
"""What a layer remembers between steps; the hidden state, (B, H) float32, comes first."""


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """X W^T + b computed in the type of the weights, returned in float32.

    Args:
        x: (B, I) any floating type.
        weight: (O, I) float32 or bfloat16.
        bias: (O,) as weight, or None.

    Returns:
        (B, O) float32.
    """
    return functional.linear(x.to(weight.dtype), weight, bias).float()


def sigmoid(x: Tensor) -> Tensor:
    """Sigmoid of x, elementwise.

    Torch's own takes another way for the last few numbers that a thread is given than for those
    before them, so a row's bits would depend on how many rows there are. Its tanh does not.
    """
    return (x * 0.5).tanh() * 0.5 + 0.5


class Parts(NamedTuple):
    """A layer's parameters in torch's order, G gates: (GH, I), (GH, H), (GH,), (GH,)."""

    input_weight: Tensor
    hidden_weight: Tensor
    input_bias: Tensor
    hidden_bias: Tensor


class Walk(Protocol):
    """Another way to do what a layer's methods of the same names do."""

    def sequence(self, layer: "Recurrence", inputs: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, I) and (B,) lengths -> (B, T, H) float32."""

    def last(
        self, layer: "Recurrence", inputs: Tensor, lengths: Tensor, *, is_reversed: bool
    ) -> Tensor:
        """(B, T, I) and (B,) lengths -> (B, H) float32."""


class Recurrence(nn.Module, ABC):
    """A one-layer recurrence in one direction, from a zero state.

    ``walk`` stands in for ``sequence`` and ``last`` under autocast, where training knows a faster
    way.
    """

    kind: ClassVar[CellKind]
    hidden_size: int
    library: nn.RNNBase
    walk: Walk | None = None

    @property
    def parts(self) -> Parts:
        """The parameters, as the library keeps them."""
        return Parts(*self.library.all_weights[0])

    def sequence(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """Hidden states at every real token.

        Args:
            inputs: (B, T, I).
            lengths: (B,) real tokens per row, >= 1.

        Returns:
            (B, T, H) float32; what stands at padding is undefined.
        """
        if self.walk is not None and torch.is_autocast_enabled(inputs.device.type):
            return self.walk.sequence(self, inputs, lengths)
        if inputs.is_cuda:
            hidden: Tensor = self.library(inputs)[0]
            return hidden.float()
        rows, width = inputs.shape[:2]
        found = layout(lengths, width)
        real = inputs.reshape(rows * width, -1)[found.places]  # (N, I)
        hidden = self._over_real_tokens(real, found)  # (N, H)
        padded = hidden.new_zeros(rows * width, self.hidden_size)
        return padded.index_copy(0, found.places, hidden).view(rows, width, -1)

    def last(self, inputs: Tensor, lengths: Tensor, *, is_reversed: bool = False) -> Tensor:
        """The hidden state after a whole row.

        Args:
            inputs: (B, T, I).
            lengths: (B,) real tokens per row, >= 1.
            is_reversed: each row is read from its end to its beginning.

        Returns:
            (B, H) float32.
        """
        if self.walk is not None and torch.is_autocast_enabled(inputs.device.type):
            return self.walk.last(self, inputs, lengths, is_reversed=is_reversed)
        if is_reversed:
            inputs = _reversed_rows(inputs, lengths)
        last = (lengths - 1)[:, None, None].expand(-1, 1, self.hidden_size)
        return self.sequence(inputs, lengths).gather(1, last).squeeze(1)

    @abstractmethod
    def _over_real_tokens(self, inputs: Tensor, found: Layout) -> Tensor:
        """(N, I) real inputs in the layout's order -> (N, H) float32 hidden states."""

    @abstractmethod
    def zero_state(self, inputs: Tensor) -> State:
        """The state before the first step, for as many rows as ``inputs`` has."""

    def step(self, inputs: Tensor, state: State) -> State:
        """One step of the recurrence, equal to ``sequence`` at the same place.

        Args:
            inputs: (B, I).
            state: as from ``zero_state`` or ``step``.

        Returns:
            The state after, float32.
        """
        parts = self.parts
        given = product(inputs, parts.input_weight, parts.input_bias)
        kept = product(state[0], parts.hidden_weight, parts.hidden_bias)
        return self.advance(given, kept, state)

    @abstractmethod
    def advance(self, given: Tensor, kept: Tensor, state: State) -> State:
        """The state after a step, from the two shares of its G gates.

        Args:
            given: (B, GH) the input's share, W x + b.
            kept: (B, GH) the hidden state's share, U h + c.
            state: before the step.
        """

    def _zeros(self, inputs: Tensor) -> Tensor:
        return torch.zeros(len(inputs), self.hidden_size, device=inputs.device)


def _reversed_rows(embedded: Tensor, lengths: Tensor) -> Tensor:
    """(B, S, E) with each row reversed within its length, its padding left at the end."""
    positions = torch.arange(embedded.shape[1], device=embedded.device)  # (S,)
    mirrored = lengths[:, None] - 1 - positions  # (B, S)
    index = torch.where(mirrored >= 0, mirrored, positions)
    return embedded.gather(1, index[:, :, None].expand_as(embedded))
