import pytest

from dialog_service.diversity import NgramCounts
from dialog_service.serving.token_window import TokenWindow


@pytest.mark.parametrize(("capacity", "kept"), [(9, 3), (10, 4), (12, 4)])
def test_holds_the_latest_replies_and_counts_them_exactly(capacity: int, kept: int) -> None:
    replies = [[f"w{number % 7}", f"w{number % 11}", "."] for number in range(50)]
    window = TokenWindow(capacity)
    for end, reply in enumerate(replies, start=1):
        window.add([reply])
        latest = replies[max(0, end - kept) : end]  # no reply more than the capacity takes
        assert window.tokens == 3 * len(latest)
        assert window.is_full == (end >= kept)
        for n in (1, 2):
            assert window.counts[n].counts == NgramCounts(n, latest).counts


@pytest.mark.parametrize("at_once", [1, 3, 50])
def test_replies_added_at_once_are_as_replies_added_one_by_one(at_once: int) -> None:
    replies = [[f"w{number % 7}", f"w{number % 11}", "."] for number in range(50)]
    window, one_by_one = TokenWindow(10), TokenWindow(10)
    for start in range(0, len(replies), at_once):
        window.add(replies[start : start + at_once])
    for reply in replies:
        one_by_one.add([reply])
    assert window.tokens == one_by_one.tokens
    assert [window.counts[n].counts for n in (1, 2)] == [
        one_by_one.counts[n].counts for n in (1, 2)
    ]


def test_a_reply_longer_than_the_window_is_kept_whole() -> None:
    window = TokenWindow(capacity_tokens=2)
    window.add([["a", "b"]])
    window.add([["c"] * 5])
    assert window.tokens == 5
    assert window.counts[1].counts == {("c",): 5}


def test_empty_replies_change_nothing() -> None:
    window = TokenWindow(capacity_tokens=2)
    window.add([[]])
    assert (window.tokens, window.is_full) == (0, False)
