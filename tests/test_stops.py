"""Where a stop ends a text."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialog_service.stops import before_first


@pytest.mark.parametrize(
    ("stops", "left"),
    [
        ((), "I see. You are right."),
        (("wrong",), "I see. You are right."),
        (("right",), "I see. You are"),
        (("right", "see"), "I"),
        (("see. You",), "I"),
        (("you",), "I see. You are right."),
        (("You are",), "I see."),
        ((".",), "I see"),
        ((" ",), "I"),
        (("I",), ""),
        (("\n",), "I see. You are right."),
    ],
)
def test_what_is_left_of_a_text(stops: tuple[str, ...], left: str):
    assert before_first("I see. You are right.", stops) == left


@settings(deadline=None)  # a busy machine is no failure
@given(st.text("ab "), st.lists(st.text("ab ", min_size=1, max_size=3), max_size=4))
def test_no_stop_is_left_and_nothing_is_lost_without_need(text: str, stops: list[str]):
    places = [n for n in range(len(text)) if any(text[n:].startswith(stop) for stop in stops)]
    wanted = text[: places[0]].rstrip() if places else text
    assert before_first(text, stops) == wanted
