"""Word frequencies of a corpus."""

import math

import pytest

from train.metrics.counting import Case, Column, ContextCounter
from train.metrics.unigrams import EPSILON, Familiarity, Unigrams, with_familiarity


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


def test_familiarity_is_of_every_word_as_often_as_it_comes():
    corpus = Unigrams(["a b", "a"])
    found = corpus.familiarity(["a", "a", "never"])
    expected = 2 * corpus.surprisal_nats("a") + corpus.surprisal_nats("never")
    assert found.surprisal_nats == pytest.approx(expected)
    assert found.known_words == 2
    assert corpus.familiarity([]) == Familiarity(surprisal_nats=0.0, known_words=0)


def test_familiarity_is_counted_beside_the_rest():
    case = Case(dialogue="a", context=("hello",), responses=("hi .",))
    counts = ContextCounter().of(case, ["a b"])
    added = with_familiarity(counts, Familiarity(surprisal_nats=2.5, known_words=1))
    changed = {
        Column(place): now
        for place, (before, now) in enumerate(zip(counts.vector, added.vector, strict=True))
        if before != now
    }
    assert changed == {Column.LOOKED_UP: 1, Column.SURPRISAL: 2.5, Column.KNOWN_WORDS: 1}


def test_the_fingerprint_is_of_the_frequencies():
    first = Unigrams(["a b", "b", "c"]).fingerprint
    assert Unigrams(["b", "c", "b a"]).fingerprint == first
    assert Unigrams(["a b", "c"]).fingerprint != first
    assert Unigrams(["a b", "b", "d"]).fingerprint != first
