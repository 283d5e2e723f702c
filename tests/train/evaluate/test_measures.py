"""What is measured of replies and kept: all of it, of those replies, or nothing."""

from dataclasses import replace
from pathlib import Path

import pytest

from train.evaluate.journal import partial_of
from train.evaluate.measures import (
    MEASURES,
    MeasuredBy,
    MeasuresFile,
    MeasuresLine,
    digest_of,
    read_measures,
)
from train.metrics.counting import Case
from train.metrics.fluency import Fluency
from train.metrics.judgement import Judgement
from train.metrics.unigrams import Familiarity

CASES = [
    Case(
        dialogue="0", context=(f"post {number}", "é"), responses=("r",), replies=("a", f"{number}")
    )
    for number in range(4)
]
BY = MeasuredBy(judge="one", corpus="two", language_model="three")


def line(case: Case) -> MeasuresLine:
    return MeasuresLine(
        replies=digest_of(case.context, case.replies),
        judgement=Judgement(probabilities=(0.1, 1 / 3), rank=3.5),
        familiarity=Familiarity(surprisal_nats=2 / 3, known_words=2),
        fluency=Fluency(nats=(4 / 3, 2.0), tokens=(2, 1)),
    )


LINES = tuple(map(line, CASES))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = MeasuresFile(tmp_path / MEASURES, BY)
    file.append(LINES[:3])
    file.append(LINES[3:])
    file.finish()
    return tmp_path / MEASURES


def test_what_was_written_is_read_to_the_last_digit(path: Path):
    found = read_measures(path, CASES)
    assert (found.by, found.lines, found.problem) == (BY, LINES, "")
    assert not partial_of(path).exists()


def test_what_nobody_measured_is_kept_as_that(tmp_path: Path):
    file = MeasuresFile(tmp_path / MEASURES, MeasuredBy())
    file.append(MeasuresLine(replies=each.replies) for each in LINES)
    file.finish()
    found = read_measures(tmp_path / MEASURES, CASES)
    assert (found.by, found.problem) == (MeasuredBy(), "")
    assert {each.judgement for each in found.lines} == {None}


def test_an_unfinished_file_is_none_and_the_next_job_begins_it_anew(path: Path):
    before = path.read_bytes()
    MeasuresFile(path, MeasuredBy(judge="another")).append(LINES[:2])
    assert path.read_bytes() == before
    again = MeasuresFile(path, BY)
    again.append(LINES)
    again.finish()
    assert path.read_bytes() == before
    path.unlink()
    MeasuresFile(path, BY).append(LINES)
    assert "no measures.jsonl" in read_measures(path, CASES).problem


OTHERS = {
    "reply": [*CASES[:2], replace(CASES[2], replies=("a", "else")), CASES[3]],
    "context": [*CASES[:2], replace(CASES[2], context=("post 2",)), CASES[3]],
    "fewer": CASES[:3],
    "more": [*CASES, CASES[0]],
    "order": CASES[::-1],
}


@pytest.mark.parametrize("cases", OTHERS.values(), ids=OTHERS)
def test_measures_of_other_replies_are_none(path: Path, cases: list[Case]):
    found = read_measures(path, cases)
    assert "is not of the replies" in found.problem
    assert (found.by, found.lines) == (MeasuredBy(), ())


def test_where_a_text_ends_makes_a_difference():
    assert digest_of(["a", "b"], ["c"]) != digest_of(["a"], ["b", "c"])
    assert digest_of(["a b"], ["c"]) != digest_of(["a", "b"], ["c"])


@pytest.mark.parametrize("kept", [0, 3, 60, 400, -2])
def test_a_torn_file_is_none(path: Path, kept: int):
    path.write_bytes(path.read_bytes()[:kept])
    found = read_measures(path, CASES)
    assert found.problem
    assert found.lines == ()


@pytest.mark.parametrize(
    "changes",
    [
        {"judgement": None},
        {"familiarity": None},
        {"judgement": Judgement(probabilities=(), rank=1)},
        {"judgement": Judgement(probabilities=(0.5,), rank=0)},
    ],
)
def test_a_line_without_what_the_first_line_promises_is_damage(
    tmp_path: Path, changes: dict[str, object]
):
    file = MeasuresFile(tmp_path / MEASURES, BY)
    file.append([*LINES[:3], LINES[3].model_copy(update=changes)])
    file.finish()
    assert "cannot be read" in read_measures(tmp_path / MEASURES, CASES).problem


def test_a_folder_of_that_name_is_damage(tmp_path: Path):
    (tmp_path / MEASURES).mkdir()
    assert "cannot be read" in read_measures(tmp_path / MEASURES, CASES).problem
