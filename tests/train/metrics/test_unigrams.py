"""Word frequencies of a corpus."""

import math

import pytest

from train.metrics.unigrams import EPSILON, Unigrams


def test_the_words_there_are_and_one_more_have_all_the_mass():
    corpus = Unigrams(["It is late.", "it is", "it is"])
    words = ("it", "is", "late", ".", "never")
    assert sum(math.exp(-corpus.surprisal_nats(word)) for word in words) == pytest.approx(1)


def test_a_word_counts_as_often_as_its_texts_repeat():
    corpus = Unigrams(["a b", "a b", "a"])
    ratio = math.exp(corpus.surprisal_nats("b") - corpus.surprisal_nats("a"))
    assert ratio == pytest.approx((3 + EPSILON) / (2 + EPSILON))
    assert "a" in corpus
    assert "c" not in corpus
    assert corpus.surprisal_nats("c") - corpus.surprisal_nats("d") == 0
