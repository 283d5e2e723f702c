"""The product with the vocabulary and the choice of a word from it."""

from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor

from dialog_service.engine.kernels import Choice, Kernels, Picking, pack
from dialog_service.engine.products import Product, packed
from dialog_service.engine.rows import RowShape
from dialog_service.models.search import TokenRule, choose
from dialog_service.vocabulary import EOS

_HOTTEST = 1e30  # 1 / temperature; times nothing it is nothing still


class Chooser(ABC):
    """From (N, I) float32 features to words; a row's bits depend on that row alone."""

    products: tuple[Product, ...]
    """That want an allowed number of rows."""

    @abstractmethod
    def scores(self, features: Tensor, shape: RowShape) -> Tensor:
        """(N, V) float32, -inf for what is no word."""

    @abstractmethod
    def choose(
        self, features: Tensor, shape: RowShape, rule: TokenRule, uniform: Tensor, may_end: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The next word of each row and its log-probability.

        Args:
            features: of N rows, an allowed number.
            shape: what is allowed.
            rule: of N rows.
            uniform: (N,) float64 in (0, 1), used where the temperature is above zero.
            may_end: (N,) bool, whether a row may come to its end.

        Returns:
            (N,) ids, and (N,) ln p in nats before temperature, top_k and top_p.
        """


def build_chooser(weight: Tensor, bias: Tensor, precision: str, kernels: Kernels | None) -> Chooser:
    """The chooser with a vocabulary's (V, I) weights and (V,) biases, -inf for what is no word."""
    if kernels is not None:
        return _KernelChooser(weight.detach(), bias.detach(), kernels)
    return _ScoringChooser(packed(weight, bias, precision))


class _ScoringChooser(Chooser):
    """Makes the scores of some rows and chooses from them, then of some more."""

    def __init__(self, product: Product) -> None:
        self._product = product
        self.products = (product,)

    def scores(self, features: Tensor, shape: RowShape) -> Tensor:
        return torch.cat(list(self._scored(features, shape)))

    def choose(
        self, features: Tensor, shape: RowShape, rule: TokenRule, uniform: Tensor, may_end: Tensor
    ) -> tuple[Tensor, Tensor]:
        found, first = [], 0
        for scores in self._scored(features, shape):
            chunk = slice(first, first + len(scores))
            scores[:, EOS].masked_fill_(~may_end[chunk], -torch.inf)
            found.append(choose(scores, rule.rows(chunk), uniform[chunk]))
            first = chunk.stop
        words, log_probs = map(torch.cat, zip(*found, strict=True))
        return words, log_probs

    def _scored(self, features: Tensor, shape: RowShape) -> Iterator[Tensor]:
        ready = self._product.ready(features)
        for chunk in shape.scored_chunks(len(features)):
            yield self._product.of(tuple(part[chunk] for part in ready))


class _KernelChooser(Chooser):
    """Makes a score where it is used; all are kept for ``top_k`` and ``top_p`` alone."""

    products = ()

    def __init__(self, weight: Tensor, bias: Tensor, kernels: Kernels) -> None:
        self._kernels = kernels
        self._weights = pack(weight, bias)
        self._word_count = len(weight)

    def scores(self, features: Tensor, shape: RowShape) -> Tensor:
        rows = len(features)
        narrow = TokenRule(
            temperature=torch.ones(rows),
            top_k=torch.ones(rows, dtype=torch.int64),
            top_p=torch.ones(rows, dtype=torch.float64),
        )
        uniform = torch.full((rows,), 0.5, dtype=torch.float64)
        may_end = torch.ones(rows, dtype=torch.bool)
        scores = self._chosen(features, narrow, uniform, may_end, keeps_scores=True).scores
        assert scores is not None
        return scores[:, : self._word_count]

    def choose(
        self, features: Tensor, shape: RowShape, rule: TokenRule, uniform: Tensor, may_end: Tensor
    ) -> tuple[Tensor, Tensor]:
        if not rule.is_narrowed.any():
            return self._chosen(features, rule, uniform, may_end)[:2]
        found = [
            self._chosen(
                features[chunk], rule.rows(chunk), uniform[chunk], may_end[chunk], keeps_scores=True
            )[:2]
            for chunk in shape.scored_chunks(len(features))
        ]
        words, log_probs = map(torch.cat, zip(*found, strict=True))
        return words, log_probs

    def _chosen(
        self,
        features: Tensor,
        rule: TokenRule,
        uniform: Tensor,
        may_end: Tensor,
        *,
        keeps_scores: bool = False,
    ) -> Choice:
        heat = rule.temperature.reciprocal().clamp_max(_HOTTEST)
        picking = Picking(
            heat=heat.where(rule.temperature > 0, 0.0),
            top_k=rule.top_k,
            top_p=rule.top_p,
            uniform=uniform,
            may_end=may_end,
            end_word=EOS,
        )
        return self._kernels.choose_words(
            self._weights, features, picking, keeps_scores=keeps_scores
        )
