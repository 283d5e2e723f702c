"""Bags against lists of lists."""

import numpy as np

from train.metrics.relevance.bags import Bags

LISTS = [[5, 1, 5], [], [2], [7, 8, 9, 9]]


def lists(bags: Bags) -> list[list[int]]:
    parts = zip(bags.starts, bags.lengths, strict=True)
    return [bags.ids[start : start + length].tolist() for start, length in parts]


def test_bags_are_what_they_were_made_of():
    assert lists(Bags.of(LISTS)) == LISTS
    assert lists(Bags.of([[], []])) == [[], []]


def test_take_picks_rows_in_any_order_with_repeats():
    rows = np.array([3, 1, 0, 0, 2])
    assert lists(Bags.of(LISTS).take(rows)) == [LISTS[row] for row in rows]
    assert lists(Bags.of(LISTS).take(np.array([], dtype=np.int64))) == []


def test_thinning_leaves_each_bag_a_part_of_itself_in_order():
    bags = Bags.of([list(range(1000)), [], list(range(1000, 3000))])
    thin = lists(bags.thinned(0.25, np.random.default_rng(0)))
    assert [sorted(bag) for bag in thin] == thin
    assert thin[1] == []
    assert set(thin[0]) < set(range(1000))
    assert set(thin[2]) < set(range(1000, 3000))
    assert abs(len(thin[2]) / 2000 - 0.75) < 0.05
    assert lists(bags.thinned(0.0, np.random.default_rng(0))) == lists(bags)
