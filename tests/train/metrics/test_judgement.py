"""Judgements become figures of a row."""

import pytest

from train.metrics.counting import Case, ContextCounter
from train.metrics.judgement import Judgement, with_judgement
from train.metrics.scoring import RowScorer


def test_means_are_over_the_contexts_judged():
    row, counter = RowScorer(), ContextCounter()
    for number in range(4):
        case = Case(dialogue=str(number), context=("hello",), responses=("hi .",))
        counts = counter.of(case, ["hi there ."])
        if number < 2:
            judgement = Judgement(probabilities=(0.5 + number / 10,), rank=1.0 + number)
            counts = with_judgement(counts, judgement)
        row.take(counts)
    figures = row.figures(seed=0)
    assert figures["relevance"].value == pytest.approx(0.55)
    assert figures["relevance_rank"].value == pytest.approx(1.5)


def test_unjudged_rows_have_no_such_figure():
    row = RowScorer()
    row.add(Case(dialogue="a", context=("hello",), responses=("hi .",)), ["hi ."])
    assert not {"relevance", "relevance_rank"} & row.figures(seed=0).keys()


def test_a_judgement_of_the_first_replies_is_of_these_alone():
    judgement = Judgement(probabilities=(0.5, 1.0, 0.0), rank=4)
    assert judgement.relevance_all == pytest.approx(0.5)
    first = judgement.of_first(2)
    assert (first.relevance, first.relevance_all, first.reciprocal_rank) == (0.5, 0.75, 0.25)
    assert judgement.of_first(9) == judgement
