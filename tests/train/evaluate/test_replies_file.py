"""Replies as JSON lines: nothing is lost without a word."""

import codecs
import os
from pathlib import Path

import pytest

from dialog_service.errors import CorpusError
from train.evaluate.replies_file import RepliesFile, RepliesLine
from train.metrics.scoring import Case

GOOD = Case(dialogue="d", context=("a", "b"), responses=("c",), replies=("é", ""))
GOOD_LINE = (
    RepliesLine(
        context=GOOD.context, responses=GOOD.responses, replies=GOOD.replies, dialogue=GOOD.dialogue
    )
    .model_dump_json()
    .encode()
    + b"\n"
)


def test_lines_survive_writing_and_reading(tmp_path: Path):
    path = tmp_path / "replies.jsonl"
    path.write_bytes(GOOD_LINE * 2)
    file = RepliesFile.scan(path, pytest.fail)
    assert list(file.cases()) == [GOOD, GOOD]
    assert (file.case_count, file.most_replies) == (2, 2)


def test_a_line_without_a_dialogue_is_one_of_its_own(tmp_path: Path):
    path = tmp_path / "replies.jsonl"
    path.write_text('{"context": ["a"], "responses": ["b"], "replies": ["c"], "id": 7}\n' * 2)
    cases = list(RepliesFile.scan(path, pytest.fail).cases())
    assert [case.dialogue for case in cases] == ["line 1", "line 2"]


def test_a_byte_order_mark_costs_no_line(tmp_path: Path):
    path = tmp_path / "replies.jsonl"
    path.write_bytes(codecs.BOM_UTF8 + GOOD_LINE * 2)
    assert list(RepliesFile.scan(path, pytest.fail).cases()) == [GOOD, GOOD]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "EOF"),
        (b"{", "EOF"),
        (b"\xff\xfe", "expected value"),
        (b"[]", "object"),
        (
            b'{"context": ["\\ud800"], "responses": ["b"], "replies": ["c"]}',
            "hex escape at column 21",
        ),
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
    path.write_bytes(GOOD_LINE + line + b"\n" + GOOD_LINE)
    complaints: list[str] = []
    file = RepliesFile.scan(path, complaints.append)
    assert len(list(file.cases())) == file.case_count == 2
    assert file.bad_lines == (2,)
    [complaint] = complaints
    assert file.note() == f"2 lines scored, 1 left out: line 2: {file.first_reasons[0]}"
    assert complaint.endswith(file.first_reasons[0])
    assert complaint.startswith(f"{path}:2: not scored: ")
    assert reason in complaint


def test_many_bad_lines_are_each_told_and_all_counted(tmp_path: Path):
    path = tmp_path / "replies.jsonl"
    path.write_bytes(GOOD_LINE + b"{\n" * 50)
    complaints: list[str] = []
    file = RepliesFile.scan(path, complaints.append)
    assert len(complaints) == 50
    assert file.note().startswith("1 lines scored, 50 left out: line 2: ")
    assert file.note().endswith("; ...")
    assert file.note().count("line ") == 20


def test_a_pipe_is_refused(tmp_path: Path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(CorpusError, match="read twice"):
        RepliesFile.scan(path, pytest.fail)


def test_a_file_without_a_good_line_is_refused(tmp_path: Path):
    path = tmp_path / "replies.jsonl"
    path.write_text("{}\n")
    with pytest.raises(CorpusError, match="no line of the form"):
        RepliesFile.scan(path, lambda _: None)
    with pytest.raises(CorpusError, match="No such file"):
        RepliesFile.scan(tmp_path / "absent", lambda _: None)
