"""The gated recurrent unit."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from dialog_service.models.recurrence.layer import Recurrence, State, sigmoid
from dialog_service.models.recurrence.layout import Layout, rows_before, spans


class GruRecurrence(Recurrence):
    """A one-layer GRU; its state is the hidden state alone, (B, H) float32."""

    kind = "gru"

    def __init__(self, input_size: int, hidden_size: int) -> None:
        """Build a GRU of ``hidden_size`` units, biases at zero."""
        super().__init__()
        self.hidden_size = hidden_size
        self.gru = nn.GRU(input_size, hidden_size, batch_first=True)
        parts = self.parts
        for bias in (parts.input_bias, parts.hidden_bias):
            nn.init.zeros_(bias)
        for weight in (parts.hidden_weight, parts.input_weight):
            nn.init.xavier_uniform_(weight)

    @property
    def library(self) -> nn.GRU:  # type: ignore[override]
        """Torch's own layer: it keeps the parameters, and runs them on a GPU."""
        return self.gru

    def _over_real_tokens(self, inputs: Tensor, found: Layout) -> Tensor:
        parts, size = self.parts, self.hidden_size
        # The candidate's recurrent bias stands inside the reset gate, so it cannot join the inputs.
        shared, candidate_bias = parts.hidden_bias.split([2 * size, size])
        bias = parts.input_bias + functional.pad(shared, (0, size))
        gates = functional.linear(inputs, parts.input_weight, bias)  # (N, 3H)
        hidden: Tensor = _GruOverRealTokens.apply(  # type: ignore[no-untyped-call]
            gates, parts.hidden_weight, candidate_bias, found.counts
        )
        return hidden

    def zero_state(self, inputs: Tensor) -> State:
        """A zero hidden state for as many rows as ``inputs`` has."""
        return (self._zeros(inputs),)

    def advance(self, given: Tensor, kept: Tensor, state: State) -> State:
        """(B, 3H) shares of the gates and the state before -> the state after."""
        (hidden,) = state
        inputs, memory = given.chunk(3, dim=1), kept.chunk(3, dim=1)
        reset, update = sigmoid(inputs[0] + memory[0]), sigmoid(inputs[1] + memory[1])
        candidate = (inputs[2] + reset * memory[2]).tanh()
        return (candidate + update * (hidden - candidate),)


class _GruOverRealTokens(torch.autograd.Function):
    """The recurrence (Cho et al. 2014, reset applied after the product), gates in torch's order.

    From (N, 3H) input shares of the gates to (N, H) hidden states. The recurrent product runs in
    the type of ``gates``, the state in float32.
    """

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        gates: Tensor,
        weight: Tensor,
        candidate_bias: Tensor,
        counts: tuple[int, ...],
    ) -> Tensor:
        narrow, size = weight.to(gates.dtype), weight.shape[1]
        active = gates.float() if gates.dtype != torch.float32 else gates.clone()
        hidden = active.new_empty(len(active), size)
        # What the candidate keeps of the state, before the reset gate: W_hn h + b_hn.
        kept = candidate_bias.float().expand(len(active), size).contiguous()
        both, candidates = active.split([2 * size, size], dim=1)
        resets, updates = both.split(size, dim=1)
        # Views of every step at once: a slice costs as much as a small product.
        steps = zip(
            *(whole.split(counts) for whole in (both, resets, updates, candidates, kept, hidden)),
            strict=True,
        )
        past: Tensor | None = None
        for gate, reset, update, candidate, keep, out in steps:
            if past is not None:
                past = past[: len(out)]
                recurrent = functional.linear(past.to(narrow.dtype), narrow)
                gate += recurrent[:, : 2 * size]
                keep += recurrent[:, 2 * size :]
            gate.sigmoid_()
            candidate.addcmul_(reset, keep).tanh_()
            if past is None:
                torch.mul(candidate, 1 - update, out=out)
            else:
                torch.lerp(candidate, past, update, out=out)
            past = out
        ctx.save_for_backward(active, kept, hidden, narrow)
        ctx.counts = counts  # type: ignore[attr-defined]
        return hidden

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, grad: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, None]:
        active, kept, hidden, narrow = ctx.saved_tensors  # type: ignore[attr-defined]
        size = hidden.shape[1]
        found = spans(ctx.counts)  # type: ignore[attr-defined]
        first = found[0][0].stop
        before = rows_before(found)[first:]
        slopes = _slopes(active, kept, hidden, before)
        grads = torch.empty_like(slopes, dtype=narrow.dtype)
        update = active[:, size : 2 * size]
        hidden_grad = active.new_zeros(0, size)
        recurrent = grads[:, : 3 * size]
        counts = ctx.counts  # type: ignore[attr-defined]
        steps = zip(
            *(
                whole.split(counts)
                for whole in (
                    slopes.unflatten(1, (4, size)),
                    grads.unflatten(1, (4, size)),
                    recurrent,
                    grad.clone(),
                    update,
                )
            ),
            strict=True,
        )
        for slope, out, gate, share, kept_share in reversed(list(steps)):
            share[: len(hidden_grad)] += hidden_grad
            torch.mul(slope, share[:, None], out=out)
            hidden_grad = torch.addcmul((gate @ narrow).float(), share, kept_share)
        weight_grad = recurrent[first:].T @ hidden[before].to(narrow.dtype)
        bias_grad = recurrent[:, 2 * size :].float().sum(0)
        gates_grad = torch.cat([grads[:, : 2 * size], grads[:, 3 * size :]], dim=1)
        return gates_grad, weight_grad.float(), bias_grad, None


def _slopes(active: Tensor, kept: Tensor, hidden: Tensor, before: Tensor) -> Tensor:
    """What multiplies the hidden state's gradient to give that of each sum of inputs.

    Returns:
        (N, 4H): of the reset gate, the update gate, what the candidate keeps, the candidate.
    """
    size = hidden.shape[1]
    reset, update, candidate = active.split(size, dim=1)
    slopes = active.new_empty(len(active), 4 * size)
    of_reset, of_update, of_kept, of_candidate = slopes.split(size, dim=1)
    torch.mul(1 - update, 1 - candidate.square(), out=of_candidate)
    torch.mul(of_candidate, reset, out=of_kept)
    torch.mul(of_kept, kept * (1 - reset), out=of_reset)
    torch.mul(candidate, -1, out=of_update)
    of_update[len(active) - len(before) :] += hidden[before]
    of_update *= update - update.square()
    return slopes
