"""Choosing replies, against the definition and against what a person would expect."""

import math
from dataclasses import replace

import pytest
from brute_force_mmr import brute_force_mmr, shared
from hypothesis import given, settings
from hypothesis import strategies as st

from dialog_service.replies import Candidate, FinishReason
from dialog_service.selection import (
    MmrSelection,
    NoSelection,
    likelihood,
    mmr,
    select,
    similarity,
)

END, LENGTH, STOP = FinishReason
TEXTS = st.lists(st.lists(st.sampled_from("abcde"), max_size=6).map(" ".join), max_size=9)


def candidate(
    text: str, log_prob_nats: float = -1.0, tokens: int = 1, reason: FinishReason = LENGTH
) -> Candidate:
    return Candidate(
        text=text, log_prob_nats=log_prob_nats, token_count=tokens, finish_reason=reason
    )


@settings(deadline=None)  # a busy machine is no failure
@given(st.data(), TEXTS, st.integers(0, 10), st.floats(0, 1))
def test_mmr_is_its_definition(data: st.DataObject, texts: list[str], count: int, weight: float):
    shares = st.lists(st.floats(0, 1), min_size=len(texts), max_size=len(texts))
    relevance = data.draw(shares)
    chosen = mmr(texts, relevance, count=count, weight=weight)
    words = [text.split() for text in texts]
    assert chosen == brute_force_mmr(words, relevance, count=count, weight=weight)
    for fewer in range(count):
        assert mmr(texts, relevance, count=fewer, weight=weight) == chosen[:fewer]


@settings(deadline=None)
@given(TEXTS)
def test_similarity_is_its_definition(texts: list[str]):
    for one in texts:
        for other in texts:
            wanted = shared(one.split(), other.split())
            assert similarity(one, other) == wanted == similarity(other, one)
        assert similarity(one, one) == (1 if one else 0)


def test_similarity_is_of_words_and_their_neighbours_whatever_their_case():
    assert similarity("I see.", "i see .") == 1
    assert similarity("Yes.", "No!") == 0
    assert similarity("a b c", "c a b") == 4 / 6  # three words and one of three pairs


def test_the_ends_of_the_weight():
    candidates = [
        candidate("it is fine", -3.0),
        candidate("it is very fine", -1.0),
        candidate("it is very good", -2.0),
        candidate("no", -9.0),
    ]
    likely = select(candidates, 3, MmrSelection(relevance_weight=1.0))
    assert [c.log_prob_nats for c in likely] == [-1.0, -2.0, -3.0]
    different = select(candidates, 2, MmrSelection(relevance_weight=0.0))
    assert [c.text for c in different] == ["it is fine", "no"]
    between = select(candidates, 3, MmrSelection(relevance_weight=0.5))
    assert [c.text for c in between] == ["it is very fine", "no", "it is very good"]


def test_what_the_matcher_says_takes_the_place_of_likelihood_where_it_is_known_of_all():
    told = [replace(candidate(text, -9.0 * n), relevance=n / 4) for n, text in enumerate("abcd")]
    by_relevance = MmrSelection(relevance_weight=1.0)
    assert [c.text for c in select(told, 3, by_relevance)] == ["d", "c", "b"]
    told[2] = replace(told[2], relevance=None)
    assert [c.text for c in select(told, 3, by_relevance)] == ["a", "b", "c"]


def test_without_selection_the_first_ones_are_taken():
    candidates = [candidate(text, -float(n)) for n, text in enumerate("cab")]
    assert select(candidates, 2, NoSelection()) == tuple(candidates[:2])
    assert select(candidates, 5, NoSelection()) == tuple(candidates)


@pytest.mark.parametrize("selection", [NoSelection(), MmrSelection(relevance_weight=0.5)])
def test_where_there_are_few_all_are_taken(selection: NoSelection | MmrSelection):
    candidates = [candidate(text) for text in "abc"]
    assert set(select(candidates, 9, selection)) == set(candidates)
    assert select([], 9, selection) == ()
    assert select(candidates, 0, selection) == ()


def test_likelihood_is_a_mean_over_all_tokens_and_the_end():
    assert likelihood(candidate("a b", 3 * math.log(0.5), 2, END)) == pytest.approx(0.5)
    for reason in (LENGTH, STOP):
        assert likelihood(candidate("a b", 2 * math.log(0.5), 2, reason)) == pytest.approx(0.5)
    assert likelihood(candidate("a", 0.0)) == 1
    assert likelihood(candidate("a", 1e-12)) == 1  # rounding
    assert likelihood(candidate("a", -1e9)) == 0


def test_a_long_reply_is_not_less_likely_for_its_length():
    short, long = candidate("a", -1.0, 1), candidate("a b c d", -4.0, 4)
    assert likelihood(short) == likelihood(long)
