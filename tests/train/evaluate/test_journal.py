"""What is left of an interrupted job, and what is not taken for it."""

from pathlib import Path

import pytest

from train.evaluate.journal import REPLIES, Journal, JournalLine, partial_of


def line(number: int, job: str = "one") -> JournalLine:
    return JournalLine(
        context=(f"post {number}",),
        responses=("é",),
        replies=("a", ""),
        dialogue=str(number),
        job=job,
        others={"greedy": ("b",)},
    )


LINES = [line(number) for number in range(5)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    Journal(tmp_path / REPLIES, "one").append(LINES)
    return tmp_path / REPLIES


def test_whole_lines_of_the_same_job_are_kept_and_appended_to(path: Path):
    journal = Journal(path, "one")
    assert (journal.kept, journal.dropped_bytes) == (5, 0)
    assert list(journal.kept_lines()) == LINES
    journal.append([line(5)])
    assert list(Journal(path, "one").kept_lines()) == [*LINES, line(5)]


@pytest.mark.parametrize("cut", [1, 2, 20])
def test_a_torn_line_is_dropped(path: Path, cut: int):
    partial = partial_of(path)
    partial.write_bytes(partial.read_bytes()[:-cut])
    journal = Journal(path, "one")
    assert journal.kept == 4
    journal.append(LINES[4:])
    assert list(Journal(path, "one").kept_lines()) == LINES


def test_what_follows_a_damaged_line_is_dropped(path: Path):
    partial = partial_of(path)
    lines = partial.read_bytes().splitlines(keepends=True)
    partial.write_bytes(b"".join([*lines[:2], b"\0" * 10 + b"\n", *lines[3:]]))
    assert Journal(path, "one").kept == 2


def test_another_job_begins_anew(path: Path):
    journal = Journal(path, "two")
    assert journal.kept == 0
    assert journal.dropped_bytes > 0
    assert partial_of(path).read_bytes() == b""


def test_a_job_that_generates_nothing_takes_nothing_over(path: Path):
    assert Journal(path, None).kept == 0


def test_the_file_has_its_name_when_it_is_finished(path: Path):
    journal = Journal(path, "one")
    assert not path.exists()
    journal.finish()
    assert not partial_of(path).exists()
    assert len(path.read_bytes().splitlines()) == 5
