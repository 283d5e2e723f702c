"""How long the pairs of a corpus are, and synthetic pairs as long. Knows no text."""

from dataclasses import dataclass

import torch
from torch import Tensor

from dialog_service.errors import ConfigError
from dialog_service.models.config import ModelConfig
from dialog_service.vocabulary import BOS, EOS, PAD, UNK, VocabularyMode
from train.data.batches import TokenisedPairs
from train.data.examples import PairMode

_FIRST_WORD = max(PAD, UNK, BOS, EOS) + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """Length quantiles of a training split, evenly spaced from 0 to 1, before any cut.

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
    places = torch.linspace(0, 1, 21, dtype=torch.float64)
    found = lengths.double().quantile(places, interpolation="nearest")
    return tuple(int(length) for length in found)


# Counted on the public corpora: training pairs that repeat no evaluation dialogue, normalised,
# in words (vocabulary mode ``word``, 20,000 entries), every twentieth of the distribution.
_DAILYDIALOG = Lengths(
    pairs=73_871,
    contexts=(1, 4, 5, 6, 7, 7, 8, 9, 10, 10, 11, 12, 13, 14, 16, 17, 20, 22, 26, 34, 257),
    responses=(2, 5, 6, 7, 7, 8, 9, 10, 11, 11, 12, 13, 14, 16, 17, 19, 21, 24, 28, 35, 285),
)
_SWITCHBOARD_TURNS = Lengths(
    pairs=95_329,
    contexts=(1, 2, 2, 2, 2, 3, 4, 5, 7, 8, 10, 13, 15, 18, 22, 26, 31, 37, 46, 62, 400),
    responses=(2, 3, 3, 3, 3, 4, 5, 6, 8, 9, 11, 14, 16, 19, 23, 27, 32, 38, 47, 63, 400),
)
_SWITCHBOARD_SEGMENTS = Lengths(
    pairs=190_160,
    contexts=(1, 2, 2, 2, 2, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 21, 28, 131),
    responses=(2, 3, 3, 3, 3, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16, 19, 22, 29, 132),
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
    """(count,) lengths, between two quantiles as likely as not."""
    place = torch.rand(count, generator=draw) * (len(quantiles) - 1)
    below = place.long().clamp(max=len(quantiles) - 2)
    table = torch.tensor(quantiles, dtype=torch.float32)
    between = table[below] + (table[below + 1] - table[below]) * (place - below)
    return between.round().long().clamp(min=1)


def _rows(lengths: Tensor, vocab_size: int, draw: torch.Generator) -> Tensor:
    """(N, width) int32 ids, padding behind each row's length."""
    width = int(lengths.max())
    words = max(1, vocab_size - _FIRST_WORD)
    ranks = ((words + 1) ** torch.rand(len(lengths), width, generator=draw) - 1).int()
    ids = (ranks + _FIRST_WORD).clamp(max=vocab_size - 1)
    ids[torch.arange(width) >= lengths[:, None]] = PAD
    return ids
