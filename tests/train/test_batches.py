"""Pairs as padded ids, and the rows that each step of each epoch sees."""

from itertools import pairwise

import pytest
import torch

from dialog_service.models.config import ModelConfig
from dialog_service.text import normalise
from dialog_service.vocabulary import BOS, EOS, PAD, UNK, Vocabulary
from train.data.batches import EpochPlan, TokenisedPairs, in_order, tokenise
from train.data.examples import Pair
from train.presets import SMALL
from train.variants import ded

TEXTS = [f"word{a} word{b} ." for a in range(9) for b in range(9)]


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return Vocabulary.fit(TEXTS, size=40, mode="unigram")


def model(max_context_tokens: int = 6, max_response_tokens: int = 5, turns: int = 1) -> ModelConfig:
    return ded(SMALL).model.model_copy(
        update={
            "max_context_tokens": max_context_tokens,
            "max_response_tokens": max_response_tokens,
            "context_turns": turns,
        }
    )


def pair(*turns: str) -> Pair:
    return Pair(tuple(turns[:-1]), turns[-1], dialog=0)


def test_a_long_context_loses_its_beginning_and_a_long_response_its_end(vocabulary: Vocabulary):
    text = "word1 word2 word3 word4 word5 word6"
    ids = vocabulary.encode(normalise(text))
    assert len(ids) > 6
    tokenised = tokenise([pair(text, text)], vocabulary, model())
    assert tokenised.contexts.tolist() == [ids[-6:]]
    assert tokenised.responses.tolist() == [[*ids[:4], EOS]]


def test_every_response_ends_once_and_is_padded_after(vocabulary: Vocabulary):
    pairs = [pair(a, b) for a, b in zip(TEXTS, reversed(TEXTS), strict=True)]
    pairs += [pair("word1", "word1"), pair("word1", "word1 word2")]
    tokenised = tokenise(pairs, vocabulary, model(max_response_tokens=9))
    for row, length in zip(tokenised.responses, tokenised.response_lengths.tolist(), strict=True):
        assert row[length - 1] == EOS
        assert (row[:length] != PAD).all()
        assert (row[length:] == PAD).all()
    lengths = [len(vocabulary.encode(normalise(p.response))) + 1 for p in pairs]
    assert tokenised.response_lengths.tolist() == [min(9, length) for length in lengths]
    assert tokenised.mean_target_tokens == pytest.approx(
        sum(min(9, length) for length in lengths) / len(lengths)
    )


def test_turns_are_joined_as_a_served_model_joins_them(vocabulary: Vocabulary):
    tokenised = tokenise(
        [pair("word1", "word2", "word3")], vocabulary, model(max_context_tokens=20, turns=2)
    )
    first, second = (vocabulary.encode(normalise(turn)) for turn in ("word1", "word2"))
    assert tokenised.contexts.tolist() == [[*first, EOS, *second]]


def test_an_empty_context_is_an_unknown_word(vocabulary: Vocabulary):
    assert tokenise([pair("", "word1")], vocabulary, model()).contexts.tolist() == [[UNK]]


def tokenised_rows() -> TokenisedPairs:
    """Row n has n + 1 tokens of context and n + 2 of response, all of them 10 + n."""
    steps = torch.arange(8)
    lengths = torch.arange(1, 6)
    contexts = torch.where(steps < lengths[:, None], 9 + lengths[:, None], PAD).int()
    responses = torch.where(steps < lengths[:, None] + 1, 9 + lengths[:, None], PAD).int()
    return TokenisedPairs(
        contexts=contexts,
        context_lengths=lengths,
        responses=responses,
        response_lengths=lengths + 1,
    )


def test_a_batch_is_its_rows_in_order_trimmed_to_the_longest():
    batch = tokenised_rows().batch(torch.tensor([2, 0]))
    assert batch.context.tolist() == [[12, 12, 12], [10, PAD, PAD]]
    assert batch.context_lengths.tolist() == [3, 1]
    assert batch.targets.tolist() == [[12] * 4, [10, 10, PAD, PAD]]
    assert batch.target_lengths.tolist() == [4, 2]
    assert batch.inputs.tolist() == [[BOS, 12, 12, 12], [BOS, 10, 10, PAD]]


def test_the_device_moves_ids_and_leaves_lengths():
    moved = tokenised_rows().to(torch.device("meta"))
    assert moved.contexts.is_meta
    assert moved.responses.is_meta
    assert moved.context_lengths.tolist() == [1, 2, 3, 4, 5]


def joined(batches: list[list[int]]) -> list[int]:
    return [row for batch in batches for row in batch]


def rows_of(plan: EpochPlan, epoch: int) -> list[list[int]]:
    return [batch.tolist() for batch in plan.batches(epoch)]


def test_an_epoch_is_whole_batches_without_repeats_and_epochs_differ():
    plan = EpochPlan(rows=103, batch_size=10, seed=5)
    first, second = rows_of(plan, 0), rows_of(plan, 1)
    assert plan.steps_per_epoch == len(first) == 10
    assert {len(batch) for batch in first + second} == {10}
    assert len(set(joined(first))) == 100
    assert first != second


def test_every_row_is_seen_across_epochs():
    plan = EpochPlan(rows=103, batch_size=10, seed=5)
    left_over = [set(range(103)) - set(joined(rows_of(plan, epoch))) for epoch in range(8)]
    assert [len(rows) for rows in left_over] == [3] * 8
    assert set.intersection(*left_over) == set()
    assert all(one != other for one, other in pairwise(left_over))


def test_batches_are_uniform_samples_of_the_rows():
    batches = rows_of(EpochPlan(rows=10_000, batch_size=100, seed=1), 0)
    means = torch.tensor(batches).double().mean(1)
    expected_deviation = 10_000 / 12**0.5 / 10  # of the mean of 100 uniform rows
    assert (means - 4999.5).abs().max() < 4 * expected_deviation
    assert means.std() == pytest.approx(expected_deviation, rel=0.25)


def test_batches_are_a_function_of_seed_epoch_and_step():
    plan = EpochPlan(rows=103, batch_size=10, seed=5)
    torch.manual_seed(99)
    again = [batch.tolist() for batch in plan.batches(3, first_step=4)]
    assert again == rows_of(plan, 3)[4:]
    assert again != rows_of(EpochPlan(rows=103, batch_size=10, seed=6), 3)[4:]


def test_an_epoch_may_be_continued_at_its_end():
    assert list(EpochPlan(rows=20, batch_size=10, seed=0).batches(0, first_step=2)) == []


def test_ranks_share_the_batches_of_one_process():
    whole = rows_of(EpochPlan(rows=103, batch_size=10, seed=5), 2)
    shares = [
        rows_of(EpochPlan(rows=103, batch_size=10, seed=5, rank=rank, ranks=2), 2)
        for rank in (0, 1)
    ]
    for batch, first, second in zip(whole, *shares, strict=True):
        assert len(first) == len(second) == 5
        assert sorted(first + second) == sorted(batch)


@pytest.mark.parametrize(
    ("rows", "batch_size"), [(10, 4), (8, 4), (3, 2), (5, 2), (2, 64), (129, 128)]
)
def test_validation_covers_every_row_once_in_even_parts(rows: int, batch_size: int):
    parts = [part.tolist() for part in in_order(rows, batch_size)]
    assert joined(parts) == list(range(rows))
    assert min(map(len, parts)) >= 2  # the smallest batch that MMD is defined on
    assert max(map(len, parts)) <= max(batch_size, 4)
