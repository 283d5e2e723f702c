"""Posting lists against visiting every document."""

import random

import numpy as np
import pytest
from rank_bm25 import BM25Okapi

from train.metrics.overlap import token_f1
from train.metrics.postings import Bm25, Postings

DRAW = random.Random(9)
WORDS = [f"w{number}" for number in range(40)]


def text() -> list[str]:
    return DRAW.choices(WORDS, weights=range(1, 41), k=DRAW.randrange(1, 9))


DOCUMENTS = [text() for _ in range(200)]
QUERIES = [*(text() for _ in range(30)), ["w3", "w3", "unknown"], []]


def test_bm25_scores_are_those_of_the_library():
    ours, theirs = Bm25(DOCUMENTS), BM25Okapi(DOCUMENTS)
    for query in QUERIES:
        assert ours.scores(query) == pytest.approx(theirs.get_scores(query))


def test_best_are_all_that_score_no_less_than_the_last_wanted():
    index = Bm25(DOCUMENTS)
    for query in QUERIES[:10]:
        scores, best = index.scores(query), index.best(query, 5)
        assert list(scores[best[:5]]) == sorted(scores, reverse=True)[:5]
        assert set(best) == set(np.flatnonzero(scores >= scores[best[4]]))
    assert index.best([], 3) == list(range(200))
    assert len(index.best(QUERIES[0], 1000)) == 200


def test_token_f1_is_that_of_each_pair():
    documents = [*DOCUMENTS, []]
    postings = Postings(documents)
    for query in QUERIES:
        expected = [token_f1(query, document) for document in documents]
        assert postings.token_f1(query) == pytest.approx(expected)


def test_token_f1_by_hand():
    assert token_f1(["a", "a", "b"], ["a", "b", "b", "c"]) == pytest.approx(2 * 2 / 7)
    assert token_f1([], []) == 0
