"""Fluency in a context's counts."""

import pytest
from pydantic import TypeAdapter, ValidationError

from train.metrics.counting import Case, Column, ContextCounter
from train.metrics.fluency import Fluency, with_fluency
from train.metrics.scoring import RowScorer

CASES = [Case(dialogue=name, context=("hello",), responses=("hi .",)) for name in "ab"]
FLUENCY = [Fluency(nats=(6.0, 9.0), tokens=(2, 1)), Fluency(nats=(4.0, 2.0), tokens=(3, 4))]


def test_it_is_counted_beside_the_rest():
    counts = ContextCounter().of(CASES[0], ["a b", "c"])
    added = with_fluency(counts, FLUENCY[0])
    changed = {
        Column(place): now
        for place, (before, now) in enumerate(zip(counts.vector, added.vector, strict=True))
        if before != now
    }
    assert changed == {
        Column.LM_TOKENS: 2,
        Column.LM_NATS: 6,
        Column.LM_TOKENS_ALL: 3,
        Column.LM_NATS_ALL: 15,
    }


def test_figures_are_means_over_words_not_over_replies():
    row = RowScorer()
    for case, fluency in zip(CASES, FLUENCY, strict=True):
        row.take(with_fluency(ContextCounter().of(case, ["a b", "c"]), fluency))
    figures = row.figures(seed=0)
    assert figures["lm_nats"].value == pytest.approx(10 / 5)
    assert figures["lm_nats_all"].value == pytest.approx(21 / 10)


def test_a_row_without_a_language_model_has_no_such_figure():
    row = RowScorer()
    row.add(CASES[0], ["a b"])
    assert not {"lm_nats", "lm_nats_all"} & row.figures(seed=0).keys()


def test_the_first_replies_alone():
    assert FLUENCY[0].of_first(1) == Fluency(nats=(6.0,), tokens=(2,))
    assert FLUENCY[0].of_first(5) == FLUENCY[0]


@pytest.mark.parametrize("wrong", [{"nats": [-1.0]}, {"tokens": [0]}, {"nats": []}])
def test_bounds_are_checked_where_it_is_read(wrong):
    good = {"nats": [1.0], "tokens": [1]}
    reader = TypeAdapter(Fluency)
    assert reader.validate_python(good)
    with pytest.raises(ValidationError):
        reader.validate_python({**good, **wrong})
