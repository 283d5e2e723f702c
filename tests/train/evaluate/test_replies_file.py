"""Replies as JSON lines: nothing is lost without a word."""

from pathlib import Path

import pytest

from dialog_service.errors import CorpusError
from train.evaluate.replies_file import RepliesFile, replies_line
from train.metrics.scoring import Case

GOOD = Case(dialogue="d", context=("a", "b"), responses=("c",), replies=("é", ""))


def test_lines_survive_writing_and_reading(tmp_path: Path):
    path = tmp_path / "replies.jsonl"
    path.write_text(replies_line(GOOD, GOOD.replies) * 2, encoding="utf-8")
    file = RepliesFile.scan(path, pytest.fail)
    assert list(file.cases()) == [GOOD, GOOD]
    assert (file.case_count, file.most_replies) == (2, 2)


def test_a_line_without_a_dialogue_is_one_of_its_own(tmp_path: Path):
    path = tmp_path / "replies.jsonl"
    path.write_text('{"context": ["a"], "responses": ["b"], "replies": ["c"], "id": 7}\n' * 2)
    cases = list(RepliesFile.scan(path, pytest.fail).cases())
    assert [case.dialogue for case in cases] == ["line 1", "line 2"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "EOF"),
        (b"{", "EOF"),
        (b"\xff\xfe", "expected value"),
        (b"[]", "object"),
        (b'{"context": ["a"], "responses": ["b"]}', "replies: Field required"),
        (b'{"context": ["a"], "responses": ["b"], "replies": []}', "replies: "),
        (b'{"context": ["a"], "responses": [3], "replies": ["c"]}', "responses.0: "),
        (b'{"context": "a", "responses": ["b"], "replies": ["c"]}', "context: "),
    ],
)
def test_a_bad_line_is_reported_with_its_number_and_counted(
    tmp_path: Path, line: bytes, reason: str
):
    path = tmp_path / "replies.jsonl"
    good = replies_line(GOOD, GOOD.replies).encode()
    path.write_bytes(good + line + b"\n" + good)
    complaints: list[str] = []
    file = RepliesFile.scan(path, complaints.append)
    assert len(list(file.cases())) == file.case_count == 2
    assert file.bad_lines == (2,)
    assert "1 could not be: 2" in file.note()
    [complaint] = complaints
    assert complaint.startswith(f"{path}:2: not scored: ")
    assert reason in complaint


def test_a_file_without_a_good_line_is_refused(tmp_path: Path):
    path = tmp_path / "replies.jsonl"
    path.write_text("{}\n")
    with pytest.raises(CorpusError, match="no line of the form"):
        RepliesFile.scan(path, lambda _: None)
    with pytest.raises(CorpusError, match="No such file"):
        RepliesFile.scan(tmp_path / "absent", lambda _: None)
