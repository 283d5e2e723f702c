"""BLEU counts beyond what the golden values show."""

import pytest

from train.metrics.overlap import BleuCounts, self_bleu


def test_the_closest_of_several_references_counts():
    counts = BleuCounts.of(["a", "b", "c"], [["a"], ["b", "c", "d", "e"]])
    assert counts.response_tokens == 4
    assert counts.matches == (3, 1, 0, 0)
    assert counts.totals == (3, 2, 1, 0)


def test_self_bleu_is_one_for_repeats_and_zero_for_strangers():
    assert self_bleu([["a", "b", "c", "d", "e"]] * 3) == pytest.approx((1, 1))
    assert self_bleu([["a", "b", "c"], ["d", "e", "f"]]) == (0, 0)


def test_a_short_reply_earns_nothing_for_orders_it_lacks():
    # One word of two shared, no bigram: p = 1/2, (0 + 1) / (1 + 1); orders 3 and 4 do not exist.
    two, four = self_bleu([["a", "b"], ["a", "c"]])
    assert (two, four) == pytest.approx((0.5, 0.5))


def test_one_reply_has_no_siblings():
    with pytest.raises(ValueError, match="at least two"):
        self_bleu([["a"]])
