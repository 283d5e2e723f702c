"""Every layout of every corpus is read whole, and whatever is wrong is one clear line."""

import io
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from dialog_service.errors import CorpusError
from train.data.corpora import CORPORA, Corpus, CorpusSource, Skip, Split, Turn, load_corpus

FOLDERS = {
    "dailydialog": "ijcnlp_dailydialog",
    "switchboard": "swda_data",
    "jsonl": "jsonl",
    "published": "dailydialog_deduplicated",
}
DAMAGED_FILE = {
    "dailydialog": "ijcnlp_dailydialog/train/dialogues_train.txt",
    "switchboard": "swda_data/train/2003.txt",
    "neuraldialog": "json_data/train.jsonl",
    "jsonl": "jsonl/train.jsonl",
    "published": "dailydialog_deduplicated/test.csv",
}


def load(corpus: str, data_dir: Path | None) -> Corpus:
    return load_corpus(CorpusSource(corpus=corpus, data_dir=data_dir))


def counts(corpus: Corpus) -> tuple[int, ...]:
    return tuple(len(corpus.split(split)) for split in Split)


def zip_bytes(folder: Path) -> bytes:
    """The folder packed as its own top-level folder, as archives usually are."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted(folder.rglob("*.*")):
            archive.write(path, path.relative_to(folder.parent))
    return packed.getvalue()


@pytest.fixture
def editable(toy: Path, tmp_path: Path) -> Path:
    """A copy of the toy corpora that a test may damage."""
    return Path(shutil.copytree(toy, tmp_path / "toy"))


def load_damaged(layout: str, editable: Path) -> Corpus:
    """Switchboard has two layouts, told apart by the folder."""
    if layout == "neuraldialog":
        return load("switchboard", editable / "json_data")
    return load(layout, editable)


# --- what is read ---


@pytest.mark.parametrize("corpus", CORPORA)
def test_folder_its_parent_and_zips_are_the_same_corpus(
    corpus: str, toy: Path, tmp_path: Path
) -> None:
    folder = toy / FOLDERS[corpus]
    packed = tmp_path / f"{folder.name}.zip"
    packed.write_bytes(zip_bytes(folder))
    renamed = tmp_path / "download.zip"
    renamed.write_bytes(packed.read_bytes())
    expected = load(corpus, toy)
    assert expected.test
    assert {load(corpus, place).fingerprint for place in (folder, packed, tmp_path, renamed)} == {
        expected.fingerprint
    }


@pytest.mark.parametrize("outer_zip", [True, False])
def test_dailydialog_archive_with_a_zip_per_split(
    toy: Path, tmp_path: Path, outer_zip: bool
) -> None:
    official = tmp_path / "ijcnlp_dailydialog"
    official.mkdir()
    for split in Split:
        packed = zip_bytes(toy / "ijcnlp_dailydialog" / split)
        (official / f"{split}.zip").write_bytes(packed)
    if outer_zip:
        (tmp_path / "ijcnlp_dailydialog.zip").write_bytes(zip_bytes(official))
        shutil.rmtree(official)
    assert load("dailydialog", tmp_path).fingerprint == load("dailydialog", toy).fingerprint


def test_counts_of_the_toy_corpora(toy: Path) -> None:
    assert counts(load("dailydialog", toy)) == (200, 30, 30)
    assert counts(load("jsonl", toy)) == (200, 30, 30)
    assert counts(load("switchboard", toy)) == (20, 3, 3)
    assert counts(load("published", toy))[0] == 0


def test_markup_goes_and_speakers_alternate(toy: Path, tmp_path: Path) -> None:
    shutil.copytree(toy / "ijcnlp_dailydialog", tmp_path / "ijcnlp_dailydialog")
    file = tmp_path / DAMAGED_FILE["dailydialog"]
    file.write_bytes(b"\xef\xbb\xbfHello , Tom ! __eou__ I 'm  Ann. __eou__ Oh __eou__\r\n")
    (dialog,) = load("dailydialog", tmp_path).train
    assert dialog.id == "train:1"
    assert dialog.turns == (Turn("A", "Hello , Tom !"), Turn("B", "I 'm  Ann."), Turn("A", "Oh"))


def test_all_formats_of_one_text_agree(toy: Path) -> None:
    assert load("jsonl", toy).fingerprint == load("dailydialog", toy).fingerprint
    text = load("switchboard", toy / "swda_data")
    release = load("switchboard", toy / "json_data")
    assert counts(release) == counts(text)
    for own, other in zip(text.train, release.train, strict=True):
        assert [(t.speaker, t.text.lower()) for t in own.turns] == [
            (t.speaker, t.text) for t in other.turns
        ]


def test_a_pipe_within_a_segment_belongs_to_its_text(editable: Path) -> None:
    (editable / DAMAGED_FILE["switchboard"]).write_text("A|this | that|sd\nB|Right.|aa\n")
    turns = load("switchboard", editable).train[2].turns
    assert turns == (Turn("A", "this | that"), Turn("B", "Right."))


def test_own_jsonl_takes_strings_and_named_speakers(editable: Path) -> None:
    turns = ["Hi.", {"text": "Hello."}, {"speaker": "Zoe", "text": " Bye.\u2028Now. "}]
    (editable / DAMAGED_FILE["jsonl"]).write_text(json.dumps({"turns": turns}, ensure_ascii=False))
    (dialog,) = load("jsonl", editable).train
    assert dialog.turns == (Turn("A", "Hi."), Turn("B", "Hello."), Turn("Zoe", "Bye.\u2028Now."))


def test_the_environment_names_the_folder(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORPORA_DIR", str(toy))
    assert load("dailydialog", None).train


def test_fingerprint_follows_the_content_alone(editable: Path, toy: Path) -> None:
    before = load("switchboard", toy).fingerprint
    file = editable / DAMAGED_FILE["switchboard"]
    file.rename(file.with_name("2003b.txt"))
    assert load("switchboard", editable).fingerprint == before
    file.with_name("2003b.txt").write_text("A|Hello.|sd\nB|Hello!|sd\n")
    assert load("switchboard", editable).fingerprint != before


def test_lone_surrogates_do_not_break_the_fingerprint(editable: Path) -> None:
    (editable / DAMAGED_FILE["jsonl"]).write_text('{"turns": ["\\ud800", "b"]}\n')
    assert len(load("jsonl", editable).fingerprint) == 64


# --- what is skipped, and counted ---


@pytest.mark.parametrize("corpus", DAMAGED_FILE)
def test_blank_lines_are_counted(corpus: str, editable: Path) -> None:
    file = editable / DAMAGED_FILE[corpus]
    head, tail = file.read_text().split("\n", 1)
    file.write_text(f"{head}\n\n{tail}")
    assert load_damaged(corpus, editable).skipped == (Skip(str(file), 2, "blank line"),)


@pytest.mark.parametrize(
    ("corpus", "content", "reason"),
    [
        ("dailydialog", "a __eou__  __eou__ b __eou__\n", "empty utterance left out"),
        ("switchboard", "A|a|sd\nB|b|sd\nA| |x\n", "empty segment left out"),
        ("jsonl", '{"turns": ["a", "b", ""]}\n', "empty turn left out"),
    ],
)
def test_empty_turns_are_left_out_and_counted(
    corpus: str, content: str, reason: str, editable: Path
) -> None:
    file = editable / DAMAGED_FILE[corpus]
    file.write_text(content)
    read = load(corpus, editable)
    assert [skip.reason for skip in read.skipped] == [reason]
    assert read.skipped[0].file == str(file)
    assert ["a", "b"] in [[turn.text for turn in dialog.turns] for dialog in read.train]


# --- what is wrong ---

MALFORMED = [
    ("dailydialog", b"a __eou__ b __eou__\n __eou__ \n", 2, "empty dialogue"),
    ("dailydialog", b"a __eou__ b __eou__\na __eou__ b __eo", 2, "does not end with __eou__"),
    ("dailydialog", b"a __eou__ b __eou__\nno markup\n", 2, "does not end with __eou__"),
    ("dailydialog", b"a __eou__ caf\xe9 __eou__\n", 1, "not UTF-8"),
    ("dailydialog", b"a __eou__ b __eou__\n\xff\xfe __eou__\n", 2, "not UTF-8"),
    ("dailydialog", b"", 1, "empty"),
    ("dailydialog", b"\n \n", 1, "empty"),
    ("switchboard", b"A|Hello.|sd\nB|Hel", 2, "expected speaker|text|act"),
    ("switchboard", b"A|Hello.|sd\nB|Hello.|", 2, "expected speaker|text|act"),
    ("switchboard", b"|Hello.|sd\n", 1, "expected speaker|text|act"),
    ("switchboard", b"A||sd\n", 1, "empty dialogue"),
    ("switchboard", b"A|Hello.|sd\nB|caf\xe9|sd\n", 2, "not UTF-8"),
    ("switchboard", b"", 1, "empty"),
    ("neuraldialog", b'{"turns": ["a", "b"]}\n', 1, '{"utts": [...]}'),
    ("neuraldialog", b'{"utts": [["A", "a"], ["B"]]}\n', 1, "[speaker, text, ...]"),
    ("neuraldialog", b'{"utts": []}\n', 1, "empty dialogue"),
    ("jsonl", b'{"turns": ["a", "b"]}\n{"turns": ["a", "b', 2, "not a JSON object"),
    ("jsonl", b'{"turns": ["a", "b"]}\n["a", "b"]\n', 2, '{"turns": [...]}'),
    ("jsonl", b'{"turns": "a"}\n', 1, '{"turns": [...]}'),
    ("jsonl", b'{"turns": ["a", 1]}\n', 1, "each turn"),
    ("jsonl", b'{"turns": ["a", {"speaker": "B"}]}\n', 1, "each turn"),
    ("jsonl", b'{"turns": []}\n', 1, "empty dialogue"),
    ("jsonl", b'{"turns": ["", " "]}\n', 1, "empty dialogue"),
    ("jsonl", b"[" * 100_000 + b"\n", 1, "not a JSON object"),
    ("jsonl", b"a\xe9\n", 1, "not UTF-8"),
    ("published", b"post,answer\na,b\n", 1, "header"),
    ("published", b"line,reply\na,b\na\n", 3, "two columns"),
    ("published", b'line,reply\na,b\n"a,b', 3, "not a CSV row"),
    ("published", b"line,reply\na,\n", 2, "two columns"),
    ("published", b"line,reply\na,\xff\n", 2, "not UTF-8"),
]


@pytest.mark.parametrize(("corpus", "content", "line", "problem"), MALFORMED)
def test_malformed_content_names_file_and_line(
    corpus: str, content: bytes, line: int, problem: str, editable: Path
) -> None:
    file = editable / DAMAGED_FILE[corpus]
    file.write_bytes(content)
    with pytest.raises(CorpusError) as caught:
        load_damaged(corpus, editable)
    message = str(caught.value)
    assert message.startswith(f"{file}:{line}: ")
    assert problem in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("corpus", "missing"),
    [
        ("dailydialog", "ijcnlp_dailydialog/validation/dialogues_validation.txt"),
        ("switchboard", "swda_data/train"),
        ("jsonl", "jsonl/test.jsonl"),
        ("published", "dailydialog_deduplicated/valid.csv"),
    ],
)
def test_a_missing_split_is_named(corpus: str, missing: str, editable: Path) -> None:
    path = editable / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(CorpusError, match="no such file") as caught:
        load(corpus, editable)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("corpus", CORPORA)
@pytest.mark.parametrize("place", ["empty", "absent", "file.txt"])
def test_a_wrong_place_says_what_belongs_there(corpus: str, place: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.txt").write_text("hello\n")
    with pytest.raises(CorpusError) as caught:
        load(corpus, tmp_path / place)
    for part in (str(tmp_path / place), CORPORA[corpus].expected, "--data-dir", "CORPORA_DIR"):
        assert part in str(caught.value)


def test_one_corpus_is_not_taken_for_another(toy: Path) -> None:
    with pytest.raises(CorpusError, match="no Switchboard"):
        load("switchboard", toy / "ijcnlp_dailydialog")
    with pytest.raises(CorpusError, match="no DailyDialog"):
        load("dailydialog", toy / "swda_data")


def test_no_place_at_all_says_where_the_corpus_can_be_had() -> None:
    with pytest.raises(CorpusError, match=r"yanran\.li.*--data-dir or CORPORA_DIR"):
        load("dailydialog", None)


def test_unknown_corpus_names_the_known_ones(toy: Path) -> None:
    with pytest.raises(CorpusError, match=r"'dailydialogue'.*dailydialog, switchboard, jsonl"):
        load("dailydialogue", toy)


def _cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _flip(data: bytes) -> bytes:
    return data[:200] + bytes([data[200] ^ 0xFF]) + data[201:]


@pytest.mark.parametrize("damage", [_cut, _flip])
def test_a_damaged_zip_is_one_line(
    toy: Path, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    packed = tmp_path / "ijcnlp_dailydialog.zip"
    packed.write_bytes(damage(zip_bytes(toy / "ijcnlp_dailydialog")))
    with pytest.raises(CorpusError) as caught:
        load("dailydialog", packed)
    assert str(packed) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.corpora
def test_real_corpora_load_without_a_skipped_line(real_corpora: Path) -> None:
    dailydialog, switchboard = load("dailydialog", real_corpora), load("switchboard", real_corpora)
    assert counts(dailydialog) == (11_118, 1_000, 1_000)
    assert counts(switchboard) == (1_115, 21, 19)
    assert counts(load("published", real_corpora)) == (0, 4_466, 4_095)
    assert dailydialog.skipped == switchboard.skipped == ()
