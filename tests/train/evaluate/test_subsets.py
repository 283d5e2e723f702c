"""Back-channels and content."""

import pytest

from train.evaluate.subsets import ALL, BACK_CHANNELS, CONTENT, is_back_channel, subsets_of
from train.metrics.scoring import Case


def case(response: str) -> Case:
    return Case(dialogue="d", context=("a",), responses=(response, "a much longer one ."))


@pytest.mark.parametrize(
    "text", ["Yeah.", "Uh-huh, uh-huh.", "That's right!", "I don't.", "...", ""]
)
def test_two_words_or_fewer_are_a_back_channel(text: str):
    assert is_back_channel(case(text))
    assert BACK_CHANNELS.holds(case(text))
    assert not CONTENT.holds(case(text))


@pytest.mark.parametrize("text", ["Yeah, oh yeah.", "I don't know.", "It is 5 p.m."])
def test_more_are_content(text: str):
    assert not is_back_channel(case(text))
    assert CONTENT.holds(case(text))


def test_only_switchboard_is_reported_in_parts():
    assert subsets_of("switchboard") == (ALL, CONTENT, BACK_CHANNELS)
    assert subsets_of("dailydialog") == subsets_of(None) == (ALL,)
    assert ALL.row_name("human") == "human"
    assert CONTENT.row_name("human") == "human, content replies"
    assert ALL.split("test/full") == "test/full"
    assert CONTENT.split("test/full") == "test/full, responses of more than 2 words"
