"""Leave-one-out figures against counting again without the one."""

import random

import pytest

from dialog_service.diversity import NgramCounts, distinct_ratio, entropy_nats
from train.metrics.intervals import jackknife
from train.metrics.unigrams import Unigrams
from train.metrics.variety import GROUPS, Variety, expectation_adjusted_distinct

DRAW = random.Random(4)
REPLIES = [
    (dialogue, [DRAW.choice("abcdefghij") for _ in range(DRAW.randrange(6))])
    for dialogue in range(30)
    for _ in range(3)
]


def counted() -> Variety:
    variety = Variety()
    for dialogue, words in REPLIES:
        variety.add(dialogue, words)
    return variety


def again(figure):
    """The jackknife of a figure by counting once more for each dialogue left out."""
    everything = figure([words for _, words in REPLIES])
    dialogues = {dialogue for dialogue, _ in REPLIES}
    without = [figure([words for d, words in REPLIES if d != left_out]) for left_out in dialogues]
    return pytest.approx(numbers(jackknife(everything, without)), abs=1e-12)


def numbers(estimate) -> tuple[float, float, float]:
    return (estimate.value, estimate.low, estimate.high)


@pytest.mark.parametrize("order", [1, 2])
def test_dist_leaves_each_dialogue_out(order: int):
    assert numbers(counted().dist(order)) == again(lambda replies: distinct_ratio(replies, order))


def test_entropy_leaves_each_dialogue_out():
    assert numbers(counted().entropy()) == again(entropy_nats)


@pytest.mark.parametrize("order", [1, 2])
def test_ead_leaves_each_dialogue_out(order: int):
    def figure(replies):
        counts = NgramCounts(order, replies)
        return expectation_adjusted_distinct(counts.distinct, counts.total)

    assert numbers(counted().ead(order)) == again(figure)


CORPUS = Unigrams(["a b c d", "a b a", "e"])


def test_unikl_leaves_each_dialogue_out():
    def figure(replies):
        words = NgramCounts(1, replies)
        surprisal = sum(n * CORPUS.surprisal_nats(*gram) for gram, n in words.counts.items())
        return surprisal / words.total - words.entropy_nats

    assert numbers(counted().uni_kl(CORPUS)) == again(figure)


def test_coverage_leaves_each_dialogue_out():
    def figure(replies):
        words = [word for reply in replies for word in reply]
        return sum(word in "abcde" for word in words) / len(words)

    assert numbers(counted().coverage(CORPUS)) == again(figure)


def test_figures_equal_the_live_ones_to_the_last_digit():
    replies = [words for _, words in REPLIES]
    variety = counted()
    assert variety.dist(1).value == distinct_ratio(replies, 1)
    assert variety.dist(2).value == distinct_ratio(replies, 2)
    assert variety.entropy().value == entropy_nats(replies)


def test_more_dialogues_than_groups_share_them():
    variety = Variety()
    for dialogue in range(2 * GROUPS):
        variety.add(dialogue, [f"w{dialogue}", "same"])
    estimate = variety.dist(1)
    assert estimate.value == (2 * GROUPS + 1) / (4 * GROUPS)
    assert 0 < estimate.high - estimate.low < 0.01
