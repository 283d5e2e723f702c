"""A recurrent layer over words, packed: all that a step needs of a word is looked up."""

from abc import ABC, abstractmethod

from torch import Tensor

from dialog_service.engine.kernels import CellKind, Given, Kernels, pack_cell
from dialog_service.engine.products import Product, packed
from dialog_service.models.recurrence import GruRecurrence, LstmRecurrence, Recurrence, State

_KINDS: dict[type[Recurrence], CellKind] = {
    LstmRecurrence: CellKind.LSTM,
    GruRecurrence: CellKind.GRU,
}


class PackedRecurrence:
    """A layer whose input is [embedding of a word ; signal].

    The share that a word has in the gates, W_e e + b, is a row of a table, made once; where the
    table would be too large, it is a product each time. The signal's share is the same at every
    step of a sequence, so it is a product once.
    """

    def __init__(
        self,
        layer: Recurrence,
        embedding: Tensor,
        precision: str,
        kernels: Kernels | None,
        *,
        largest_table: int,
    ) -> None:
        """Pack a layer.

        Args:
            layer: of inputs (E + G).
            embedding: (V, E).
            precision: of the recurrent product; the table is made in float32.
            kernels: what takes a step, if anything is compiled for the precision.
            largest_table: bytes that it may have.
        """
        parts = layer.parts
        width = embedding.shape[1]
        words, signals = parts.input_weight.detach().float().tensor_split([width], dim=1)
        bias = parts.input_bias.detach().float()
        self.layer = layer
        self._embedding = embedding
        self._table: Tensor | None = None
        self.word_share: Product = packed(words, bias, "fp32")
        if len(embedding) * len(words) * 4 <= largest_table:
            self._table = self.word_share(embedding)  # (V, GH)
        else:
            self.word_share = packed(words, bias, precision, kernels)
        self.signal_share: Product = packed(signals.contiguous(), None, "fp32")
        self._step: _Step
        if kernels is not None:
            self._step = _KernelStep(layer, kernels)
        else:
            self._step = _ProductStep(layer, precision)

    @property
    def products(self) -> tuple[Product, ...]:
        """What torch multiplies at every step."""
        return self._step.products + (() if self._table is not None else (self.word_share,))

    def start(self, rows: int) -> State:
        """The state before the first word."""
        return self.layer.zero_state(self._embedding[:1].expand(rows, -1))

    def step(self, share: Tensor | None, words: Tensor | None, state: State) -> State:
        """The state after an input.

        Args:
            share: (N, GH) of the gates, besides what its words have.
            words: (N,) ids; one of the two is given.
            state: before it, (N, H) each.
        """
        return self._step.advance(self._given(share, words), state)

    def _given(self, share: Tensor | None, words: Tensor | None) -> Given:
        if words is None:
            return Given(share, None, None)
        if self._table is not None:
            return Given(share, self._table, words)
        made = self.word_share(self._embedding[words])
        return Given(made if share is None else made.add_(share), None, None)


class _Step(ABC):
    """What the state becomes."""

    products: tuple[Product, ...]

    @abstractmethod
    def advance(self, given: Given, state: State) -> State:
        """The state after an input that has these shares of the gates."""


class _ProductStep(_Step):
    """The layer's own arithmetic around a packed product."""

    def __init__(self, layer: Recurrence, precision: str) -> None:
        parts = layer.parts
        self._layer = layer
        self._kept = packed(parts.hidden_weight.float(), parts.hidden_bias.float(), precision)
        self.products = (self._kept,)

    def advance(self, given: Given, state: State) -> State:
        return self._layer.advance(given.total(), self._kept(state[0]), state)


class _KernelStep(_Step):
    """All of it compiled."""

    products = ()

    def __init__(self, layer: Recurrence, kernels: Kernels) -> None:
        parts = layer.parts
        self._kernels = kernels
        self._kind = _KINDS[type(layer)]
        weight, bias = parts.hidden_weight.detach().float(), parts.hidden_bias.detach().float()
        self._weights = pack_cell(weight, bias, gates=len(weight) // layer.hidden_size)

    def advance(self, given: Given, state: State) -> State:
        return self._kernels.advance_cells(self._kind, self._weights, given, state)
