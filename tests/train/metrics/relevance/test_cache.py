"""Whole files or none."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from train.metrics.relevance.cache import cache_folder, read_checked, write_checked


def test_what_was_written_is_read(tmp_path: Path):
    path = tmp_path / "new" / "folder" / "file"
    write_checked(path, b"payload")
    assert read_checked(path) == b"payload"
    assert [p.name for p in path.parent.iterdir()] == ["file"]


@pytest.mark.parametrize("damage", [b"", b"short", None])
def test_damage_is_as_good_as_nothing(tmp_path: Path, damage: bytes | None):
    path = tmp_path / "file"
    write_checked(path, b"payload" * 100)
    stored = path.read_bytes()
    path.write_bytes(stored[:-1] + bytes([stored[-1] ^ 1]) if damage is None else damage)
    assert read_checked(path) is None


def test_no_file_is_none(tmp_path: Path):
    assert read_checked(tmp_path / "absent") is None
    assert read_checked(tmp_path) is None


def test_writers_at_once_leave_one_whole_file(tmp_path: Path):
    path = tmp_path / "file"
    payloads = [bytes([number]) * 100_000 for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda payload: write_checked(path, payload), payloads * 5))
    assert read_checked(path) in payloads
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_cannot_be_is_an_os_error(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        write_checked(tmp_path / "file" / "below", b"payload")


def test_the_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "dialog-service"
    monkeypatch.setenv("HOME", str(tmp_path))
    for relative in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", relative)
        assert cache_folder() == tmp_path / ".cache" / "dialog-service"
