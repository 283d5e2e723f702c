"""Tokenised pairs on the device and the batches an epoch makes of them.

Batches are uniform random and trimmed to their longest row, never bucketed by length: a term over
the batch, MMD, would otherwise compare codes of same-length posts with the prior.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dialog_service.generation import context_ids
from dialog_service.models.config import ModelConfig
from dialog_service.models.seq2seq import Batch
from dialog_service.text import normalise
from dialog_service.vocabulary import BOS, EOS, PAD, Vocabulary
from train.data.examples import Pair


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenisedPairs:
    """N pairs as padded ids; lengths stay on the CPU, where trimming needs them without a wait."""

    contexts: Tensor  # (N, S) int32
    context_lengths: Tensor  # (N,) int64, CPU
    responses: Tensor  # (N, T) int32, end of sequence included
    response_lengths: Tensor  # (N,) int64, CPU

    def __len__(self) -> int:
        """N."""
        return len(self.contexts)

    @property
    def mean_target_tokens(self) -> float:
        """Mean response length, end of sequence included."""
        return float(self.response_lengths.double().mean())

    def to(self, device: torch.device) -> "TokenisedPairs":
        """The same pairs with their ids on a device."""
        return TokenisedPairs(
            contexts=self.contexts.to(device),
            context_lengths=self.context_lengths,
            responses=self.responses.to(device),
            response_lengths=self.response_lengths,
        )

    def batch(self, rows: Tensor) -> Batch:
        """The batch of some rows, trimmed to its longest.

        Args:
            rows: (B,) int64 indices, CPU.
        """
        device = self.contexts.device
        context_lengths = self.context_lengths[rows]
        response_lengths = self.response_lengths[rows]
        there = rows.to(device)
        contexts = self.contexts[there, : int(context_lengths.max())].long()
        targets = self.responses[there, : int(response_lengths.max())].long()
        first = torch.full_like(targets[:, :1], BOS)
        return Batch(
            context=contexts,
            context_lengths=context_lengths.to(device),
            inputs=torch.cat([first, targets[:, :-1]], dim=1),
            targets=targets,
            target_lengths=response_lengths.to(device),
        )


def tokenise(pairs: Sequence[Pair], vocabulary: Vocabulary, model: ModelConfig) -> TokenisedPairs:
    """Ids of pairs, cut to what the model takes.

    A long context loses its beginning; a long response its end, and always ends with
    end-of-sequence (the paper's code loses it on 20-token targets).
    """
    contexts = [
        context_ids(vocabulary.encode_all([normalise(turn) for turn in pair.context]), model)
        for pair in pairs
    ]
    responses = vocabulary.encode_all([normalise(pair.response) for pair in pairs])
    room = model.max_response_tokens - 1
    context_rows, context_lengths = _padded(contexts)
    response_rows, response_lengths = _padded([[*ids[:room], EOS] for ids in responses])
    return TokenisedPairs(
        contexts=context_rows,
        context_lengths=context_lengths,
        responses=response_rows,
        response_lengths=response_lengths,
    )


def _padded(sequences: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    lengths = torch.tensor([len(ids) for ids in sequences])
    rows = torch.full((len(sequences), int(lengths.max())), PAD, dtype=torch.int32)
    for row, ids in zip(rows, sequences, strict=True):
        row[: len(ids)] = torch.tensor(ids, dtype=torch.int32)
    return rows, lengths


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochPlan:
    """Which rows each step of each epoch sees: a pure function of seed, epoch and step."""

    rows: int
    batch_size: int
    seed: int
    rank: int = 0
    ranks: int = 1

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in an epoch; the rows left over differ from epoch to epoch."""
        return self.rows // self.batch_size

    def batches(self, epoch: int, first_step: int = 0) -> Iterator[Tensor]:
        """This rank's (B / ranks,) rows of each step from ``first_step`` on."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        order = torch.randperm(self.rows, generator=generator)
        for step in range(first_step, self.steps_per_epoch):
            whole = order[step * self.batch_size : (step + 1) * self.batch_size]
            yield whole[self.rank :: self.ranks]


def in_order(rows: int, batch_size: int) -> Iterator[Tensor]:
    """Every row once, in order, in even batches: for validation.

    At most ``batch_size`` rows each, or four where that is less: none of two rows or more is left
    with a single one, on which a term over the batch is undefined.
    """
    parts = -(-rows // max(batch_size, 4))
    yield from torch.arange(rows).tensor_split(parts)
