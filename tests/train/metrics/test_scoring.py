"""Rows of figures: what is resampled, what is left out, what is counted."""

import pytest

from train.metrics import scoring
from train.metrics.counting import ContextCounter
from train.metrics.fluency import Fluency, with_fluency
from train.metrics.judgement import Judgement, with_judgement
from train.metrics.scoring import METRICS, Case, Dialogues, RowScorer
from train.metrics.unigrams import Unigrams

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
    overlap = {"bleu_2", "bleu_4", "set_precision", "set_recall"}
    assert not overlap & scored(1, is_response=True).figures(seed=0).keys()
    assert "dist_1" in scored(1, is_response=True).figures(seed=0)


def test_single_replies_get_no_figure_of_siblings():
    assert not {"self_bleu_2", "inter_dist_1", "set_recall"} & scored(1).figures(seed=0).keys()


def test_contexts_with_too_few_replies_are_counted_and_have_no_siblings():
    scorer = RowScorer()
    scorer.add_all([case(0, "a"), case(1, "b")], [["x y", "z"], ["x y"]])
    figures = scorer.figures(seed=0)
    assert scorer.contexts_below(2) == 1
    assert figures["inter_dist_1"].value == 1.0
    assert figures["intra_dist_2"].value == 0.75  # "z" has no two words: zero, as for Dist


def test_replies_drawn_for_unique_count_for_nothing_else():
    draws = ["x y", "z", *["w"] * 8]
    few, many = RowScorer(count=2), RowScorer(count=2)
    few.add(case(0, "a"), draws[:2])
    many.add_all([case(0, "a"), case(0, "a")], [draws, draws[:2]])
    unique = many.figures(seed=0).pop("unique_replies").value
    assert unique == 3
    assert few.figures(seed=0)["self_bleu_2"] == many.figures(seed=0)["self_bleu_2"]
    assert few.figures(seed=0)["inter_dist_1"] == many.figures(seed=0)["inter_dist_1"]
    assert "unique_replies" not in few.figures(seed=0)


def test_one_response_of_a_person_is_not_one_of_ten():
    asked, people = RowScorer(count=10), RowScorer(count=10, is_response=True)
    for scorer in (asked, people):
        scorer.add(case(0, "a"), ["x y"])
    assert asked.figures(seed=0)["unique_replies"].value == 1
    assert "unique_replies" not in people.figures(seed=0)


def test_one_reply_has_a_precision_and_no_recall():
    figures = scored(1).figures(seed=0)
    assert "set_precision" in figures
    assert "set_recall" not in figures


def test_more_dialogues_than_units_share_them(monkeypatch: pytest.MonkeyPatch):
    alone = scored(1)
    monkeypatch.setattr(scoring, "MAX_UNITS", 4)
    shared = scored(1)
    assert shared.dialogues == alone.dialogues == len(TEXTS)
    for key, estimate in alone.figures(seed=0).items():
        assert shared.figures(seed=0)[key].value == pytest.approx(estimate.value, abs=1e-12)
    assert shared.figures(seed=0)["bleu_2"].low != alone.figures(seed=0)["bleu_2"].low


def test_rows_that_share_a_numbering_count_as_if_alone():
    dialogues = Dialogues()
    cases = [case(number, str(number % 4)) for number in range(len(TEXTS))]
    rows = [RowScorer(dialogues=dialogues) for _ in range(2)]
    for row, shift in zip(rows, (0, 1), strict=True):
        row.add_all(cases, [[TEXTS[n - shift]] for n in range(len(TEXTS))])
    alone = RowScorer()
    alone.add_all(cases, [[TEXTS[n - 1]] for n in range(len(TEXTS))])
    assert rows[1].figures(seed=3) == alone.figures(seed=3)
    assert rows[1].dialogues == 4


def test_every_figure_has_a_column_of_its_own():
    scorer = RowScorer(count=10, corpus=Unigrams(TEXTS))
    counts = ContextCounter(count=10).of(case(0, "a"), ["x y", "z"])
    judgement = Judgement(probabilities=(0.5, 0.0), rank=8)
    fluency = Fluency(nats=(6.0, 4.0), tokens=(3, 1))
    scorer.take(with_fluency(with_judgement(counts, judgement), fluency))
    keys = [metric.key for metric in METRICS]
    assert len(set(keys)) == len(keys)
    figures = scorer.figures(seed=0)
    assert set(keys) == figures.keys()
    judged = ("relevance", "relevance_all", "relevance_rank", "relevance_mrr")
    assert [figures[key].value for key in judged] == [0.5, 0.25, 8, 0.125]
    assert [figures[key].value for key in ("lm_nats", "lm_nats_all")] == [2, 2.5]
