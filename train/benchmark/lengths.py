"""How long the pairs of a corpus are, and synthetic pairs as long. Knows no text."""

from dataclasses import dataclass

import torch
from torch import Tensor

from dialog_service.errors import ConfigError
from dialog_service.models.config import ModelConfig
from dialog_service.vocabulary import BOS, EOS, PAD, UNK, VocabularyMode
from train.data.batches import TokenisedPairs
from train.data.examples import PairMode

# Every twentieth of the distribution, and closer together in its tail, which sets a batch's width.
PLACES = (*(place / 20 for place in range(20)), 0.97, 0.99, 0.999, 1.0)
_FIRST_WORD = max(PAD, UNK, BOS, EOS) + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """Length quantiles of a training split at ``PLACES``, before any cut.

    ``responses`` count end-of-sequence; ``pairs`` is how many training pairs there are.
    """

    pairs: int
    contexts: tuple[int, ...]
    responses: tuple[int, ...]

    def stretched(self, factor: float) -> "Lengths":
        """The lengths of the same text in a vocabulary with that many more tokens to a word."""
        return Lengths(
            pairs=self.pairs,
            contexts=tuple(max(1, round(length * factor)) for length in self.contexts),
            responses=tuple(max(1, round((length - 1) * factor) + 1) for length in self.responses),
        )

    @staticmethod
    def of(pairs: TokenisedPairs) -> "Lengths":
        """The lengths of pairs at hand, cut as they are."""
        return Lengths(
            pairs=len(pairs),
            contexts=_quantiles(pairs.context_lengths),
            responses=_quantiles(pairs.response_lengths),
        )


def _quantiles(lengths: Tensor) -> tuple[int, ...]:
    places = torch.tensor(PLACES, dtype=torch.float64)
    found = lengths.double().quantile(places, interpolation="nearest")
    return tuple(int(length) for length in found)


def _at_places(numbers: str) -> tuple[int, ...]:
    """As many lengths as there are places."""
    return tuple(int(number) for _, number in zip(PLACES, numbers.split(), strict=True))


# Counted on the public corpora: training pairs that repeat no evaluation dialogue, normalised,
# in words.
_DAILYDIALOG = Lengths(
    pairs=73_871,
    contexts=_at_places("1 4 5 6 7 7 8 9 10 10 11 12 13 14 16 17 20 22 26 34 39 51 85 257"),
    responses=_at_places("2 5 6 7 7 8 9 10 11 11 12 13 14 16 17 19 21 24 28 35 41 53 89 285"),
)
_SWITCHBOARD_TURNS = Lengths(
    pairs=95_329,
    contexts=_at_places("1 2 2 2 2 3 4 5 7 8 10 13 15 18 22 26 31 37 46 62 75 106 202 532"),
    responses=_at_places("2 3 3 3 3 4 5 6 8 9 11 14 16 19 23 27 32 38 47 63 76 107 200 533"),
)
_SWITCHBOARD_SEGMENTS = Lengths(
    pairs=190_160,
    contexts=_at_places("1 2 2 2 2 2 3 4 5 6 7 8 9 10 11 13 15 17 21 28 32 43 68 131"),
    responses=_at_places("2 3 3 3 3 3 4 5 6 7 8 9 10 11 12 14 16 19 22 29 33 44 69 132"),
)
# Tokens of a 4,000-entry unigram vocabulary per word, on the same pairs.
_SUBWORDS = {"dailydialog": 1.18, "switchboard": 1.07}

SYNTHETIC = tuple(_SUBWORDS)


def corpus_lengths(corpus: str, mode: VocabularyMode, pairing: PairMode | None) -> Lengths:
    """The lengths of a known corpus.

    Args:
        corpus: one of ``SYNTHETIC``.
        mode: of the vocabulary.
        pairing: how its pairs are made, or None for the corpus's own way.

    Raises:
        ConfigError: nothing is known about the corpus.
    """
    known = {
        "dailydialog": _DAILYDIALOG,
        "switchboard": _SWITCHBOARD_SEGMENTS
        if pairing in (PairMode.SEGMENTS, PairMode.ADJACENT)
        else _SWITCHBOARD_TURNS,
    }
    if corpus not in known:
        raise ConfigError(
            f"--corpus {corpus!r}: without --data-dir, allowed are {', '.join(SYNTHETIC)}"
        )
    return known[corpus] if mode == "word" else known[corpus].stretched(_SUBWORDS[corpus])


def synthetic_pairs(
    lengths: Lengths, model: ModelConfig, *, count: int, seed: int
) -> TokenisedPairs:
    """Random pairs with these lengths, cut to what the model takes.

    A word is as frequent as one over its rank (Zipf), so embedding rows are as shared as in text.
    """
    draw = torch.Generator().manual_seed(seed)
    context_lengths = _lengths(lengths.contexts, count, draw).clamp(max=model.max_context_tokens)
    response_lengths = _lengths(lengths.responses, count, draw).clamp(max=model.max_response_tokens)
    contexts = _rows(context_lengths, model.vocab_size, draw)
    responses = _rows(response_lengths, model.vocab_size, draw)
    responses[torch.arange(count), response_lengths - 1] = EOS
    return TokenisedPairs(
        contexts=contexts,
        context_lengths=context_lengths,
        responses=responses,
        response_lengths=response_lengths,
    )


def _lengths(quantiles: tuple[int, ...], count: int, draw: torch.Generator) -> Tensor:
    """(count,) lengths, evenly likely between one quantile and the next."""
    places, table = torch.tensor(PLACES), torch.tensor(quantiles, dtype=torch.float32)
    drawn = torch.rand(count, generator=draw)
    above = torch.searchsorted(places, drawn, right=True).clamp(max=len(PLACES) - 1)
    share = (drawn - places[above - 1]) / (places[above] - places[above - 1])
    return torch.lerp(table[above - 1], table[above], share).round().long().clamp(min=1)


def _rows(lengths: Tensor, vocab_size: int, draw: torch.Generator) -> Tensor:
    """(N, width) int32 ids, padding behind each row's length."""
    width = int(lengths.max())
    words = max(1, vocab_size - _FIRST_WORD)
    ranks = ((words + 1) ** torch.rand(len(lengths), width, generator=draw) - 1).int()
    ids = (ranks + _FIRST_WORD).clamp(max=vocab_size - 1)
    ids[torch.arange(width) >= lengths[:, None]] = PAD
    return ids
