"""Interpolated Kneser-Ney, against a plain implementation with dictionaries."""

import math
import random
from collections import Counter, defaultdict
from itertools import product

import pytest

from train.metrics import language_model
from train.metrics.language_model import ORDER, NgramModel

START, END = "<s>", "</s>"
TEXTS = ["it is late .", "it is late .", "is it late ?", "it was late , was it ?", "late .", "it"]


class Plain:
    """The same model, one probability at a time."""

    def __init__(self, texts: list[str]) -> None:
        """Count."""
        self.words = {word for text in texts for word in text.split()}
        grams = Counter(
            tuple(line[end - ORDER : end])
            for text in texts
            for line in [[START] * (ORDER - 1) + text.split() + [END]]
            for end in range(ORDER, len(line) + 1)
        )
        self.levels = {}
        for length in range(ORDER, 0, -1):
            followed = defaultdict(dict)
            for gram, count in grams.items():
                followed[gram[:-1]][gram[-1]] = count
            once = sum(count == 1 for count in grams.values())
            twice = sum(count == 2 for count in grams.values())
            discount = once / (once + 2 * twice) if once and twice else 0.5
            self.levels[length] = followed, discount
            grams = Counter(gram[1:] for gram in grams)

    @staticmethod
    def mixed(word: str, after: dict, discount: float, shorter: float) -> float:
        """The discounted share, and what was taken off spread as one word less has it."""
        kept = max(after.get(word, 0) - discount, 0) + discount * len(after) * shorter
        return kept / sum(after.values())

    def empty(self, word: str) -> float:
        """Given nothing."""
        followed, discount = self.levels[1]
        return self.mixed(word, followed[()], discount, 1 / (len(self.words) + 2))

    def nats(self, words: list[str]) -> float:
        """-ln p of a whole text."""
        line = [START] * (ORDER - 1) + words + [END]
        return -sum(
            math.log(self.chain(line[place], tuple(line[place - ORDER + 1 : place])))
            for place in range(ORDER - 1, len(line))
        )

    def chain(self, word: str, before: tuple[str, ...]) -> float:
        """From no word before it to all of them."""
        found = self.empty(word)
        for length in range(1, len(before) + 1):
            followed, discount = self.levels[length + 1]
            after = followed.get(before[len(before) - length :])
            found = self.mixed(word, after, discount, found) if after else found
        return found


def nats_of(model: NgramModel, text: str) -> float:
    """-ln p of one text."""
    return model.fluency([[text]])[0].nats[0]


def random_texts(count: int, seed: int) -> list[str]:
    """Of few words, so that n-grams repeat."""
    rng = random.Random(seed)
    return [" ".join(rng.choices("abcde", k=rng.randint(1, 7))) for _ in range(count)]


@pytest.mark.parametrize("seed", range(3))
def test_probabilities_are_those_of_the_plain_model(seed):
    texts = random_texts(40, seed)
    model, plain = NgramModel(texts), Plain(texts)
    for text in [*texts, *random_texts(40, seed + 100), "a never b", "z z", ""]:
        assert nats_of(model, text) == pytest.approx(plain.nats(text.split()), abs=1e-9)


@pytest.mark.parametrize("before", ["", "it is", "it was late", "never late", "is it late"])
def test_what_may_follow_has_all_the_mass(before):
    plain = Plain(TEXTS)
    behind = tuple([START] * (ORDER - 1) + before.split())[1 - ORDER :]
    words = [*plain.words, "never", END]
    assert sum(plain.chain(word, behind) for word in words) == pytest.approx(1)


def test_all_short_texts_together_have_no_more_than_all_the_mass():
    model = NgramModel(["a b", "b a", "a", "a b a"])
    words = ["a", "b", "other"]
    texts = [" ".join(t) for length in range(7) for t in product(words, repeat=length)]
    pools = model.fluency([[text] for text in texts])
    total = math.fsum(math.exp(-pool.nats[0]) for pool in pools)
    assert 0.95 < total < 1


def test_what_was_said_is_likelier_than_the_same_words_in_disorder():
    model = NgramModel(TEXTS)
    assert nats_of(model, "it is late .") < nats_of(model, "late it . is") - 3


def test_of_a_single_text_something_is_learnt():
    model = NgramModel(["a b"])
    assert nats_of(model, "a b") < nats_of(model, "b a")


def test_words_it_never_saw_are_alike():
    model = NgramModel(TEXTS)
    assert nats_of(model, "it is never .") == nats_of(model, "it is seldom .")
    assert nats_of(model, "it is never .") > nats_of(model, "it is late .")


def test_of_too_many_words_the_rarest_are_as_if_never_seen(monkeypatch):
    monkeypatch.setattr(language_model, "MAX_WORDS", 2)
    model = NgramModel(["a a a b b c", "a b"])
    assert nats_of(model, "c") == nats_of(model, "d")
    assert nats_of(model, "b") != nats_of(model, "d")


def test_the_widest_numbers_fit():
    assert language_model._BASE**ORDER < 2**63


def test_pools_keep_their_replies_and_the_end_is_a_token():
    model = NgramModel(TEXTS)
    first, second = model.fluency([["It is late.", "it"], ["late ."]])
    assert first.tokens == (5, 2)
    assert second.tokens == (3,)
    assert [*first.nats, *second.nats] == [
        nats_of(model, text) for text in ("it is late .", "it", "late .")
    ]


def test_the_fingerprint_is_of_what_was_counted():
    first = NgramModel(TEXTS).fingerprint
    assert NgramModel([*reversed(TEXTS)]).fingerprint == first
    assert NgramModel(TEXTS[:-1]).fingerprint != first
    assert NgramModel([*TEXTS, "it"]).fingerprint != first
    assert NgramModel([text.replace("late", "soon") for text in TEXTS]).fingerprint != first
