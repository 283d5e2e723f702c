"""What comes with training pairs, and what may be left out."""

from pathlib import Path

import pytest
from rich.console import Console

from train.data.pairs import Pair
from train.evaluate.options import Extras, Options
from train.evaluate.yardsticks import TrainingPairs, Yardsticks, make_yardsticks

PAIRS = [Pair((f"post {number}",), f"reply {number} .", number) for number in range(60)]


def made(pairs: TrainingPairs, **extras: bool) -> Yardsticks:
    options = Options(output=Path("unused"), extras=Extras(**extras))
    return make_yardsticks(2, pairs, options, Console(quiet=True))


def names(sticks: Yardsticks) -> list[str]:
    return [row.name for row in sticks.rows]


def test_without_training_pairs_there_are_human_and_echo():
    sticks = made(TrainingPairs())
    assert names(sticks) == ["human", "echo of the post"]
    assert sticks.corpus is sticks.judge is None


def test_the_dear_parts_may_be_left_out():
    sticks = made(TrainingPairs(train=PAIRS, unleaked=PAIRS), bm25=False, relevance=False)
    assert names(sticks) == ["human", "echo of the post", "random training replies"]
    assert sticks.corpus is not None
    assert "reply" in sticks.corpus
    assert sticks.judge is None


def test_the_judge_learns_from_pairs_without_leaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    pairs = TrainingPairs(train=[*PAIRS, Pair(("a leak",), "leaked", 99)], unleaked=PAIRS)
    sticks = made(pairs)
    made(TrainingPairs(train=PAIRS, unleaked=PAIRS))
    assert len(list((tmp_path / "dialog-service").iterdir())) == 1  # the same classifier
    assert sticks.judge is not None
    assert sticks.judge.judge([("post 1",)], [["reply 1 ."]])[0].relevance > 0
    assert sticks.notes[0].startswith("relevance: ")
    assert names(sticks)[-1] == "BM25 over training posts"
