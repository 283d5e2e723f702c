import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialog_service.diversity import (
    NgramCounts,
    distinct_ratio,
    entropy_nats,
    metric_tokens,
    ngrams,
    self_bleu,
)
from train.metrics import overlap


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("I don't know.", ["i", "do", "n't", "know", "."]),
        ("Well, it's OK!", ["well", ",", "it", "'s", "ok", "!"]),
        ("  \u201cREALLY?\u201d ", ['"', "really", "?", '"']),
        ("", []),
    ],
)
def test_metric_tokens(text: str, tokens: list[str]) -> None:
    assert metric_tokens(text) == tokens


def test_metric_tokens_are_the_same_for_typed_and_model_text() -> None:
    assert metric_tokens("I don't know.") == metric_tokens("i do n't know .")


def test_ngrams() -> None:
    tokens = ["a", "b", "a", "b"]
    assert ngrams(tokens, 1) == [("a",), ("b",), ("a",), ("b",)]
    assert ngrams(tokens, 2) == [("a", "b"), ("b", "a"), ("a", "b")]
    assert ngrams(tokens, 4) == [("a", "b", "a", "b")]
    assert ngrams(tokens, 5) == []


def test_ngrams_stay_within_a_reply() -> None:
    assert distinct_ratio([["a", "b"], ["a", "b"]], 2) == 1 / 2
    assert distinct_ratio([["a", "b", "a", "b"]], 2) == 2 / 3
    assert distinct_ratio([["a", "b"], ["a", "b"]], 1) == 2 / 4


@pytest.mark.parametrize("n", [1, 2, 3])
@given(replies=st.lists(st.lists(st.sampled_from("abc"), max_size=6), max_size=5))
def test_a_ratio_is_that_of_the_counts(n: int, replies: list[list[str]]) -> None:
    assert distinct_ratio(replies, n) == NgramCounts(n, replies).distinct_ratio


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("replies", [[], [[]]])
def test_nothing_to_count(n: int, replies: list[list[str]]) -> None:
    assert distinct_ratio(replies, n) == 0.0
    assert entropy_nats(replies) == 0.0


def test_entropy() -> None:
    assert entropy_nats([["a", "b"], ["c", "d"]]) == pytest.approx(math.log(4))
    assert entropy_nats([["a", "a"], ["a", "b"]]) == pytest.approx(
        -0.75 * math.log(0.75) - 0.25 * math.log(0.25)
    )
    assert str(entropy_nats([["a", "a"]])) == "0.0"


def test_counts_add_up_and_can_be_taken_back() -> None:
    one, two = [["a", "b", "c"], ["a", "b"]], [["b", "c"], ["d"]]
    counts = NgramCounts(2, one)
    counts += NgramCounts(2, two)
    whole = NgramCounts(2, one + two)
    assert counts.counts == whole.counts
    assert (counts.distinct, counts.total) == (2, 4)
    counts.remove(two)
    assert counts.counts == NgramCounts(2, one).counts
    assert counts.distinct_ratio == 2 / 3


def test_counts_of_another_n_do_not_add_up() -> None:
    counts = NgramCounts(1)
    with pytest.raises(ValueError, match="2-grams"):
        counts += NgramCounts(2)


@given(st.lists(st.lists(st.sampled_from("abcd"), max_size=8), min_size=2, max_size=5))
def test_self_bleu_is_that_of_evaluation(replies: list[list[str]]) -> None:
    two, four = overlap.self_bleu(replies)
    assert self_bleu(replies, 2) == pytest.approx(two, abs=1e-12)
    assert self_bleu(replies, 4) == pytest.approx(four, abs=1e-12)


def test_self_bleu_takes_the_closest_length_and_of_two_the_shorter() -> None:
    # "a b" is held against one word, "a" and "a b c" against two.
    replies = [["a", "b"], ["a"], ["a", "b", "c"]]
    assert self_bleu(replies, 1) == pytest.approx((1 + math.exp(-1) + 2 / 3) / 3)


def test_one_reply_has_no_siblings() -> None:
    with pytest.raises(ValueError, match="at least two"):
        self_bleu([["a"]], 2)
