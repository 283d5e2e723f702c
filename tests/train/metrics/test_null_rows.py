"""Replies that understood nothing, and nothing else."""

from dialog_service.diversity import metric_tokens
from train.metrics.null_rows import Echo, Human, RandomReplies, RetrievedReplies
from train.metrics.scoring import Case

POSTS = ("where is the station ?", "how is the weather ?", "the station is closed .", "who ?")
REPLIES = ("over there .", "it rains .", "over there .", "me")
CASES = [
    Case(dialogue="a", context=("hi .", "the station ?"), responses=("left .", "right .")),
    Case(dialogue="b", context=("what weather !",), responses=("you said that before .",)),
]


def test_human_and_echo_take_what_is_there():
    assert Human(count=2).answer(CASES) == [("left .", "right ."), ("you said that before .",)]
    assert Echo().answer(CASES) == [("the station ?",), ("what weather !",)]


def test_random_replies_are_as_long_as_the_response_and_repeat_with_the_seed():
    texts = [f"{'word ' * length}{number}" for length in range(1, 6) for number in range(50)]

    def drawn(seed: int):
        return RandomReplies(texts, count=3, seed=seed).answer(CASES)

    for case, replies in zip(CASES, drawn(1), strict=True):
        length = len(metric_tokens(case.responses[0]))
        assert [len(metric_tokens(reply)) for reply in replies] == [length] * 3
        assert len(set(replies)) == 3
    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_random_replies_make_do_with_the_lengths_there_are():
    system = RandomReplies(["one", "one two three"], count=2, seed=0)
    assert system.answer(CASES) == [("one two three",), ("one two three",)]


def test_retrieval_gives_the_replies_to_the_nearest_posts_once_each():
    system = RetrievedReplies(POSTS, REPLIES, count=2)
    station, weather = system.answer(CASES)
    assert station[0] == "over there ."
    assert len(set(station)) == 2
    assert weather[0] == "it rains ."
