"""One LSTM, run two ways: over a whole sequence for training, step by step for decoding.

The sequence runs through the library's fused kernel. The step is written as its matrix products,
each in the type of its weights with the state kept in float32, so that a step costs the same
arithmetic whatever the length of the sequence and whatever rows share the batch.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

State = tuple[Tensor, Tensor]


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x W^T + b computed in the type of the weights, returned in float32.

    Args:
        x: (B, I) any floating type.
        weight: (O, I) float32 or bfloat16.
        bias: (O,) as weight, or None.

    Returns:
        (B, O) float32.
    """
    return functional.linear(x.to(weight.dtype), weight, bias).float()


class Recurrence(nn.Module):
    """A one-layer LSTM in one direction."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        """Build an LSTM of ``hidden_size`` units; the forget gate starts open (bias 1)."""
        super().__init__()
        self.hidden_size = hidden_size
        self.lstm = nn.LSTM(input_size, hidden_size, batch_first=True)
        for bias in (self.lstm.bias_ih_l0, self.lstm.bias_hh_l0):
            nn.init.zeros_(bias)
        # The two biases add up, so one of them alone holds the open gate.
        nn.init.ones_(self.lstm.bias_ih_l0.data[hidden_size : 2 * hidden_size])
        for weight in (self.lstm.weight_hh_l0, self.lstm.weight_ih_l0):
            nn.init.xavier_uniform_(weight)

    def sequence(self, inputs: Tensor) -> Tensor:
        """Hidden states from a zero state.

        Args:
            inputs: (B, T, I).

        Returns:
            (B, T, H).
        """
        hidden: Tensor = self.lstm(inputs)[0]
        return hidden

    def zero_state(self, inputs: Tensor) -> State:
        """A zero state for as many rows as ``inputs`` has: two (B, H) float32."""
        zeros = torch.zeros(len(inputs), self.hidden_size, device=inputs.device)
        return zeros, zeros

    def step(self, inputs: Tensor, state: State) -> State:
        """One step of the recurrence, equal to ``sequence`` at the same place.

        Args:
            inputs: (B, I).
            state: hidden and cell, each (B, H) float32.

        Returns:
            The next hidden and cell, each (B, H) float32.
        """
        hidden, cell = state
        lstm = self.lstm
        gates = product(inputs, lstm.weight_ih_l0, lstm.bias_ih_l0)
        gates = gates + product(hidden, lstm.weight_hh_l0, lstm.bias_hh_l0)  # (B, 4H)
        entry, forget, candidate, exit_ = gates.chunk(4, dim=1)
        cell = forget.sigmoid() * cell + entry.sigmoid() * candidate.tanh()
        return exit_.sigmoid() * cell.tanh(), cell
