"""One LSTM, run two ways: over whole sequences for training, step by step for decoding.

On a GPU a sequence runs through the library's kernel. On a CPU it runs as its matrix products over
the real tokens alone: rows sorted by length, each step over the rows that reach it, the weights'
gradient one product at the end. That is the arithmetic of the library's layer at a fraction of its
time, because most of a padded batch of utterances is padding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

State = tuple[Tensor, Tensor]


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


class Recurrence(nn.Module):
    """A one-layer LSTM in one direction, from a zero state."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        """Build an LSTM of ``hidden_size`` units; the forget gate starts open (bias 1)."""
        super().__init__()
        self.hidden_size = hidden_size
        self.lstm = nn.LSTM(input_size, hidden_size, batch_first=True)
        parts = self._parts
        for bias in (parts.input_bias, parts.hidden_bias):
            nn.init.zeros_(bias)
        # The two biases add up, so one of them alone holds the open gate.
        nn.init.ones_(parts.input_bias.data[hidden_size : 2 * hidden_size])
        for weight in (parts.hidden_weight, parts.input_weight):
            nn.init.xavier_uniform_(weight)

    @property
    def _parts(self) -> "_Parts":
        return _Parts(*self.lstm.all_weights[0])

    def sequence(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """Hidden states at every real token.

        Args:
            inputs: (B, T, I).
            lengths: (B,) real tokens per row, >= 1.

        Returns:
            (B, T, H) float32; what stands at padding is undefined.
        """
        if inputs.is_cuda:
            hidden: Tensor = self.lstm(inputs)[0]
            return hidden.float()
        return self._over_real_tokens(inputs, lengths)

    def _over_real_tokens(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        rows, width = inputs.shape[:2]
        layout, parts = _layout(lengths, width), self._parts
        real = inputs.reshape(rows * width, -1)[layout.places]  # (N, I)
        bias = parts.input_bias + parts.hidden_bias
        gates = functional.linear(real, parts.input_weight, bias)
        hidden: Tensor = _LstmOverRealTokens.apply(  # type: ignore[no-untyped-call]
            gates, parts.hidden_weight, layout.counts
        )  # (N, H)
        padded = hidden.new_zeros(rows * width, self.hidden_size)
        return padded.index_copy(0, layout.places, hidden).view(rows, width, -1)

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
        (hidden, cell), parts = state, self._parts
        gates = product(inputs, parts.input_weight, parts.input_bias)
        gates = gates + product(hidden, parts.hidden_weight, parts.hidden_bias)  # (B, 4H)
        entry, forget, candidate, exit_ = gates.chunk(4, dim=1)
        cell = forget.sigmoid() * cell + entry.sigmoid() * candidate.tanh()
        return exit_.sigmoid() * cell.tanh(), cell


class _Parts(NamedTuple):
    """An LSTM's parameters in torch's order: (4H, I), (4H, H), (4H,), (4H,)."""

    input_weight: Tensor
    hidden_weight: Tensor
    input_bias: Tensor
    hidden_bias: Tensor


@dataclass(frozen=True, slots=True)
class _Layout:
    """Real tokens in the order of their step, longest rows first within a step.

    ``places`` (N,) is where each stands among the B T padded ones; ``counts`` how many rows
    reach each step. The rows of a step are the first rows of the step before.
    """

    places: Tensor
    counts: tuple[int, ...]


def _layout(lengths: Tensor, width: int) -> _Layout:
    ordered, order = lengths.sort(descending=True, stable=True)
    steps = torch.arange(int(ordered[0]))
    reached = steps[:, None] < ordered  # (T, B)
    step, rank = reached.nonzero(as_tuple=True)
    return _Layout(order[rank] * width + step, tuple(reached.sum(1).tolist()))


def _spans(counts: Sequence[int]) -> list[tuple[slice, slice]]:
    """Per step: its rows among the N, and the same sequences' rows one step before."""
    starts = [0]
    for count in counts:
        starts.append(starts[-1] + count)
    return [
        (slice(start, start + count), slice(before, before + count))
        for start, before, count in zip(starts, [0, *starts], counts, strict=False)
    ]


class _LstmOverRealTokens(torch.autograd.Function):
    """The recurrence (Hochreiter & Schmidhuber 1997, with forget gate), gates in torch's order.

    From (N, 4H) input shares of the gates to (N, H) hidden states. The recurrent product runs in
    the type of ``gates``, the state in float32.
    """

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        gates: Tensor,
        weight: Tensor,
        counts: tuple[int, ...],
    ) -> Tensor:
        narrow = weight.to(gates.dtype)
        size = weight.shape[1]
        active = gates.float() if gates.dtype != torch.float32 else gates.clone()
        cells = active.new_empty(len(active), size)
        hidden = gates.new_empty(len(active), size)
        for step, (now, before) in enumerate(_spans(counts)):
            gate = active[now]
            if step:
                gate += functional.linear(hidden[before], narrow)
            gate[:, : 2 * size].sigmoid_()
            gate[:, 2 * size : 3 * size].tanh_()
            gate[:, 3 * size :].sigmoid_()
            cell = cells[now]
            torch.mul(gate[:, :size], gate[:, 2 * size : 3 * size], out=cell)
            if step:
                cell.addcmul_(gate[:, size : 2 * size], cells[before])
            hidden[now] = gate[:, 3 * size :] * cell.tanh()
        ctx.save_for_backward(active, cells, hidden, narrow)
        ctx.counts = counts  # type: ignore[attr-defined]
        return hidden.float()

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, grad: Tensor
    ) -> tuple[Tensor, Tensor, None]:
        active, cells, hidden, narrow = ctx.saved_tensors  # type: ignore[attr-defined]
        size = cells.shape[1]
        spans = _spans(ctx.counts)  # type: ignore[attr-defined]
        first = spans[0][0].stop
        before = torch.cat([torch.arange(s.start, s.stop) for _, s in spans])[first:]
        slopes, through_cell = _slopes(active, cells, before, first)
        gates_grad = hidden.new_empty(active.shape)
        hidden_grad = cell_grad = active.new_zeros(0, size)
        for now, _ in reversed(spans):
            share = grad[now].clone()
            share[: len(hidden_grad)] += hidden_grad
            carried = share * through_cell[now]
            carried[: len(cell_grad)] += cell_grad
            slope, out = (
                slopes[now].unflatten(1, (4, size)),
                gates_grad[now].unflatten(1, (4, size)),
            )
            out[:, :3] = slope[:, :3] * carried[:, None]
            out[:, 3] = slope[:, 3] * share
            hidden_grad = gates_grad[now] @ narrow
            cell_grad = carried * active[now, size : 2 * size]
        weight_grad = gates_grad[first:].T @ hidden[before]
        return gates_grad, weight_grad.float(), None


def _slopes(active: Tensor, cells: Tensor, before: Tensor, first: int) -> tuple[Tensor, Tensor]:
    """What multiplies the cell's (and for the exit gate the hidden state's) gradient.

    Returns:
        (N, 4H) slopes of the gates and (N, H) of the cell seen through the hidden state.
    """
    size = cells.shape[1]
    entry, forget, candidate, exit_ = active.split(size, dim=1)
    squashed = cells.tanh()
    slopes = torch.empty_like(active)
    parts = slopes.split(size, dim=1)
    torch.mul(entry - entry.square(), candidate, out=parts[0])
    parts[1][:first] = 0
    torch.mul((forget - forget.square())[first:], cells[before], out=parts[1][first:])
    torch.mul(1 - candidate.square(), entry, out=parts[2])
    torch.mul(exit_ - exit_.square(), squashed, out=parts[3])
    return slopes, exit_ * (1 - squashed.square())
