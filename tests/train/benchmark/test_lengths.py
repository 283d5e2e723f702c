"""Synthetic pairs are as long as they should be and what a model can take."""

import pytest
import torch

from dialog_service.errors import ConfigError
from dialog_service.vocabulary import BOS, EOS, PAD
from tests.train.benchmark.conftest import TINY_LENGTHS, tiny_config
from train.benchmark.lengths import PLACES, SYNTHETIC, Lengths, corpus_lengths, synthetic_pairs
from train.data.examples import PairMode

MODEL = tiny_config("wed_s").model.model_copy(update={"vocab_size": 60})


def test_quantiles_come_back():
    known = corpus_lengths("dailydialog", "word", None)
    room = MODEL.model_copy(update={"max_context_tokens": 400, "max_response_tokens": 400})
    pairs = synthetic_pairs(known, room, count=10_000, seed=1)
    found = Lengths.of(pairs)
    assert found.contexts[:-2] == pytest.approx(known.contexts[:-2], abs=2, rel=0.1)
    assert found.responses[:-2] == pytest.approx(known.responses[:-2], abs=2, rel=0.1)
    assert pairs.context_lengths.double().mean() == pytest.approx(14.11, rel=0.03)
    assert pairs.mean_target_tokens == pytest.approx(15.18, rel=0.03)


def test_rows_are_well_formed():
    pairs = synthetic_pairs(TINY_LENGTHS, MODEL, count=500, seed=1)
    for rows, lengths in (
        (pairs.contexts, pairs.context_lengths),
        (pairs.responses, pairs.response_lengths),
    ):
        assert torch.equal((rows != PAD).sum(1), lengths)
        assert rows.max() < 60
        assert not (rows == BOS).any()
    last = pairs.responses[torch.arange(500), pairs.response_lengths - 1]
    assert (last == EOS).all()
    assert (pairs.responses == EOS).sum() == 500


def test_long_rows_are_cut_to_what_the_model_takes():
    long = Lengths(pairs=1, contexts=(1000,) * len(PLACES), responses=(1000,) * len(PLACES))
    pairs = synthetic_pairs(long, MODEL, count=3, seed=0)
    assert pairs.contexts.shape == (3, MODEL.max_context_tokens)
    assert pairs.responses.shape == (3, MODEL.max_response_tokens)


def test_the_seed_fixes_the_pairs():
    one, same, other = (
        synthetic_pairs(TINY_LENGTHS, MODEL, count=50, seed=seed).contexts for seed in (3, 3, 4)
    )
    assert torch.equal(one, same)
    assert one.shape != other.shape or not torch.equal(one, other)


def test_frequent_words_are_frequent():
    pairs = synthetic_pairs(TINY_LENGTHS, MODEL, count=5000, seed=0)
    counts = torch.bincount(pairs.contexts.flatten(), minlength=60)
    first = EOS + 1
    assert counts[first] > 5 * counts[first + 20] > 0


def test_subwords_are_more_than_words():
    words = corpus_lengths("dailydialog", "word", None)
    pieces = corpus_lengths("dailydialog", "unigram", None)
    assert pieces.contexts[-1] > words.contexts[-1]
    assert pieces.responses[0] >= words.responses[0]


def test_segments_are_shorter_than_turns():
    turns = corpus_lengths("switchboard", "word", None)
    segments = corpus_lengths("switchboard", "word", PairMode.SEGMENTS)
    assert segments.pairs > turns.pairs
    assert segments.responses[-2] < turns.responses[-2]


def test_an_unknown_corpus_is_answered_with_the_known_ones():
    with pytest.raises(ConfigError, match="dailydialog, switchboard"):
        corpus_lengths("jsonl", "word", None)
    assert {corpus_lengths(name, "word", None) for name in SYNTHETIC}
