"""Rows of figures: what is resampled, what is left out, what is counted."""

import pytest

from train.metrics.scoring import METRICS, Case, RowScorer

TEXTS = (
    "i am here .",
    "you are there .",
    "we know it well .",
    "she may come .",
    "no .",
    "so what ?",
)


def case(number: int, dialogue: str) -> Case:
    return Case(dialogue=dialogue, context=("hello",), responses=(TEXTS[number % 5],))


def scored(times: int, *, is_response: bool = False) -> RowScorer:
    scorer = RowScorer(is_response=is_response)
    for number, text in enumerate(TEXTS):
        scorer.add_all([case(number, str(number))] * times, [[text]] * times)
    return scorer


def test_repeats_within_a_dialogue_make_no_figure_surer():
    once, often = scored(1).figures(seed=0)["bleu_2"], scored(20).figures(seed=0)["bleu_2"]
    assert often.value == pytest.approx(once.value)
    assert (often.low, often.high) == pytest.approx((once.low, once.high))


def test_the_responses_themselves_get_no_bleu():
    assert "bleu_2" not in scored(1, is_response=True).figures(seed=0)
    assert "dist_1" in scored(1, is_response=True).figures(seed=0)


def test_single_replies_get_no_figure_of_siblings():
    assert not {"self_bleu_2", "inter_dist_1", "unique_replies"} & scored(1).figures(seed=0).keys()


def test_contexts_with_too_few_replies_are_counted_and_count_for_unique():
    scorer = RowScorer()
    scorer.add_all([case(0, "a"), case(1, "b")], [["x y", "z"], ["x y"]])
    figures = scorer.figures(seed=0)
    assert scorer.contexts_below(2) == 1
    assert figures["unique_replies"].value == 1.5
    assert figures["inter_dist_1"].value == 1.0


def test_every_figure_has_a_column_of_its_own():
    scorer = RowScorer()
    scorer.add(case(0, "a"), ["x y", "z"])
    keys = [metric.key for metric in METRICS]
    assert len(set(keys)) == len(keys)
    assert set(keys) == scorer.figures(seed=0).keys()
