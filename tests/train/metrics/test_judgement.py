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
            judgement = Judgement(
                relevance=0.5 + number / 10,
                relevance_all=0.0,
                rank=1.0 + number,
                reciprocal_rank=1.0,
            )
            counts = with_judgement(counts, judgement)
        row.take(counts)
    figures = row.figures(seed=0)
    assert figures["relevance"].value == pytest.approx(0.55)
    assert figures["relevance_rank"].value == pytest.approx(1.5)


def test_unjudged_rows_have_no_such_figure():
    row = RowScorer()
    row.add(Case(dialogue="a", context=("hello",), responses=("hi .",)), ["hi ."])
    assert not {"relevance", "relevance_rank"} & row.figures(seed=0).keys()
