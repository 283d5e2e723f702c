"""What is learned from, what is kept apart, and replies that only share a word."""

import numpy as np

from train.data.pairs import Pair
from train.metrics.relevance.bags import Bags
from train.metrics.relevance.examples import Overlaps, Texts, different_texts, split_by_dialogue

PAIRS = [Pair(context=("old", f"t{n}"), response=f"t{n + 1}", dialog=n // 5) for n in range(50)]
RANDOM = np.random.default_rng(0)


def test_texts_are_held_once_and_found_again():
    texts = Texts.of(PAIRS, different_texts(PAIRS))
    assert len(texts.words) == 51
    assert [texts.words[place] for place in texts.posts] == [[f"t{n}"] for n in range(50)]
    assert [texts.words[place] for place in texts.replies] == [[f"t{n + 1}"] for n in range(50)]


def test_no_dialogue_is_on_both_sides():
    split = split_by_dialogue(PAIRS, 0.3, np.random.default_rng(1))
    learned, held_out = ({PAIRS[row].dialog for row in r} for r in (split.learned, split.held_out))
    assert len(held_out) == 3
    assert not learned & held_out
    assert sorted([*split.learned, *split.held_out]) == list(range(50))
    assert len(split_by_dialogue(PAIRS, 0.001, np.random.default_rng(1)).held_out) == 5


def test_overlapping_replies_hold_one_of_the_rarest_words_of_the_post():
    # Word 0 is in every reply, words 1 to 4 in one each; 9 is a pair of neighbours.
    bags = Bags.of([[0, 1, 9], [0, 2, 9], [0, 3], [0, 4], [1, 2, 3, 0, 9], [8], []])
    posts, replies = np.array([4, 5, 6, 1]), np.array([0, 1, 2, 3])
    overlaps = Overlaps(bags, posts, replies, [number != 9 for number in range(10)])
    drawn = [overlaps.draw(np.arange(4), RANDOM) for _ in range(200)]
    assert {int(row[0]) for row in drawn} == {0, 1, 2}  # not by 0, the commonest
    assert {int(row[1]) for row in drawn} == {int(row[2]) for row in drawn} == {-1}
    assert {int(row[3]) for row in drawn} == {0, 1, 2, 3}  # by 0 too: there are but two words


def test_replies_without_features_overlap_with_nothing():
    bags = Bags.of([[], [0]])
    overlaps = Overlaps(bags, np.array([1, 1]), np.array([0, 0]), [True])
    assert overlaps.draw(np.array([0, 1]), RANDOM).tolist() == [-1, -1]
