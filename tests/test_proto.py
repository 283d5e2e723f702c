"""The committed stubs are those of the committed .proto files."""

import shutil
from collections.abc import Callable
from pathlib import Path

import compatibility
import generate
import pytest

ROOT = Path(__file__).parents[1]
STUBS = ROOT / "dialog_service" / "v1"
CONTRACT = "dialog_service/v1/dialog.proto"
PUBLISHED = compatibility.PUBLISHED.read_bytes()
needs_buf = pytest.mark.skipif(compatibility.buf() is None, reason=compatibility.NO_BUF)
# A change that clients would notice: what is replaced by what.
BREAKS = {
    "a field is gone": ("repeated string stop = 6;", ""),
    "a field has another number": ("optional int64 seed = 7;", "optional int64 seed = 8;"),
    "a field has another type": ("optional int32 top_k", "optional int64 top_k"),
    "a field has another name": ("double log_prob_nats", "double log_prob"),
    "a field is one, not many": ("repeated Reply replies", "Reply replies"),
    "a field's absence no longer shows": ("optional double top_p", "double top_p"),
    "a field has left its oneof": ("oneof result", "oneof outcome"),
    "a value is gone": ("CACHE_MODE_REFRESH = 3;", ""),
    "a value has another number": ("FINISH_REASON_STOP = 3;", "FINISH_REASON_STOP = 4;"),
    "a method is gone": (
        "rpc GetDiversity(GetDiversityRequest) returns (GetDiversityResponse);",
        "",
    ),
    "a method streams": ("returns (ListModelsResponse)", "returns (stream ListModelsResponse)"),
    "a method takes something else": ("rpc GetModel(GetModelRequest)", "rpc GetModel(Turn)"),
}
Changed = Callable[[str, str], bytes]


@pytest.fixture
def changed(tmp_path: Path) -> Changed:
    """``changed(old, new)``: the contract with one thing in it replaced, compiled."""

    def change(old: str, new: str) -> bytes:
        shutil.copytree(generate.PROTO / "dialog_service", tmp_path / "dialog_service")
        text = (tmp_path / CONTRACT).read_text()
        assert text.count(old) == 1
        (tmp_path / CONTRACT).write_text(text.replace(old, new))
        return compatibility.compiled("--include_source_info", sources=tmp_path)

    return change


def test_the_stubs_are_up_to_date(tmp_path: Path):
    assert generate.main(tmp_path) == 0
    fresh = {path.name: path.read_text() for path in (tmp_path / "dialog_service/v1").iterdir()}
    assert {path.name for path in STUBS.glob("*_pb2*")} == set(fresh)
    for name, text in fresh.items():
        assert (STUBS / name).read_text() == text, f"run: make proto  ({name} differs)"


def test_everything_in_the_contract_is_explained():
    from dialog_service.v1 import dialog_pb2

    source = (ROOT / "proto/dialog_service/v1/dialog.proto").read_text().splitlines()
    messages = dialog_pb2.DESCRIPTOR.message_types_by_name
    methods = dialog_pb2.DESCRIPTOR.services_by_name["DialogService"].methods_by_name
    for start in [f"message {name} {{" for name in messages] + [f"rpc {n}(" for n in methods]:
        [line] = [i for i, text in enumerate(source) if text.strip().startswith(start)]
        assert source[line - 1].strip().startswith("//"), start


def test_the_contract_keeps_what_was_published():
    assert not compatibility.breaks(PUBLISHED, compatibility.compiled())


def test_what_was_published_is_the_present_contract():
    again = compatibility.breaks(compatibility.compiled(files="dialog.proto"), PUBLISHED)
    assert not again, "an addition; run: python proto/compatibility.py --publish"


@pytest.mark.parametrize("case", BREAKS)
def test_a_break_is_found(case: str, changed: Changed):
    assert compatibility.breaks(PUBLISHED, changed(*BREAKS[case]))


def test_an_addition_is_no_break(changed: Changed):
    more = changed("string version = 2;", "string version = 2; string new_one = 11;")
    assert not compatibility.breaks(PUBLISHED, more)


@needs_buf
def test_buf_has_nothing_to_say():
    present = compatibility.compiled("--include_source_info")
    assert compatibility.complaints(str(compatibility.buf()), present) == ""


@needs_buf
@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        (*BREAKS["a field is gone"], 'field "6" with name "stop"'),
        (*BREAKS["a method streams"], "server streaming"),
        ("  // That model.\n", "", "non-empty comment"),
        ("double distinct_1 = 1;", "double Distinct1 = 1;", "lower_snake_case"),
    ],
)
def test_buf_finds_breaks_and_bad_style(changed: Changed, old: str, new: str, complaint: str):
    assert complaint in compatibility.complaints(str(compatibility.buf()), changed(old, new))
