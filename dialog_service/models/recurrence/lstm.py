"""The long short-term memory layer."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from dialog_service.models.recurrence.layer import Recurrence, State, sigmoid
from dialog_service.models.recurrence.layout import Layout, rows_before, spans


class LstmRecurrence(Recurrence):
    """A one-layer LSTM; its state is hidden and cell, each (B, H) float32."""

    kind = "lstm"

    def __init__(self, input_size: int, hidden_size: int) -> None:
        """Build an LSTM of ``hidden_size`` units; the forget gate starts open (bias 1)."""
        super().__init__()
        self.hidden_size = hidden_size
        self.lstm = nn.LSTM(input_size, hidden_size, batch_first=True)
        parts = self.parts
        for bias in (parts.input_bias, parts.hidden_bias):
            nn.init.zeros_(bias)
        # The two biases add up, so one of them alone holds the open gate.
        nn.init.ones_(parts.input_bias.data[hidden_size : 2 * hidden_size])
        for weight in (parts.hidden_weight, parts.input_weight):
            nn.init.xavier_uniform_(weight)

    @property
    def library(self) -> nn.LSTM:  # type: ignore[override]
        """Torch's own layer: it keeps the parameters, and runs them on a GPU."""
        return self.lstm

    def _over_real_tokens(self, inputs: Tensor, found: Layout) -> Tensor:
        parts = self.parts
        gates = functional.linear(inputs, parts.input_weight, parts.input_bias + parts.hidden_bias)
        hidden: Tensor = _LstmOverRealTokens.apply(  # type: ignore[no-untyped-call]
            gates, parts.hidden_weight, found.counts
        )
        return hidden

    def zero_state(self, inputs: Tensor) -> State:
        """A zero hidden state and cell for as many rows as ``inputs`` has."""
        return self._zeros(inputs), self._zeros(inputs)

    def advance(self, given: Tensor, kept: Tensor, state: State) -> State:
        """(B, 4H) shares of the gates and the state before -> the state after."""
        gates, size = given + kept, self.hidden_size
        entry, forget = sigmoid(gates[:, : 2 * size]).chunk(2, dim=1)
        cell = forget * state[1] + entry * gates[:, 2 * size : 3 * size].tanh()
        return sigmoid(gates[:, 3 * size :]) * cell.tanh(), cell


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
        for step, (now, before) in enumerate(spans(counts)):
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
        found = spans(ctx.counts)  # type: ignore[attr-defined]
        first = found[0][0].stop
        before = rows_before(found)[first:]
        slopes, through_cell = _slopes(active, cells, before, first)
        gates_grad = hidden.new_empty(active.shape)
        hidden_grad = cell_grad = active.new_zeros(0, size)
        for now, _ in reversed(found):
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
