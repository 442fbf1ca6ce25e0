"""Files and folders appear whole or not at all; a damaged, full or read-only cache is mended or told."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from shared.errors import UserError
from shared.system.cache import cache_folder, made_once
from shared.system.files import files_below, full_disk_as_user_error, whole_file, whole_folder, write_text


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("WHISPER_SPACES_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Builder:
    def __init__(self):
        self.times = 0

    def __call__(self, folder: Path) -> None:
        self.times += 1
        (folder / "below").mkdir()
        (folder / "below/weights.bin").write_bytes(b"x" * 10_000)
        (folder / "config.json").write_text("{}")


def test_a_folder_is_made_once(cache):
    build = Builder()
    assert made_once("model", build) == made_once("model", build) == cache / "model" and build.times == 1
    assert not list(cache.glob(".*"))


DAMAGES = {
    "a file cut short": lambda folder: os.truncate(folder / "below/weights.bin", 5_000),
    "an empty file": lambda folder: os.truncate(folder / "below/weights.bin", 0),
    "a file of zeros": lambda folder: (folder / "below/weights.bin").write_bytes(bytes(10_000)),
    "a missing file": lambda folder: (folder / "config.json").unlink(),
    "a list that is no JSON": lambda folder: folder.with_name("model.files.json").write_text("{"),
    "a list of another kind": lambda folder: folder.with_name("model.files.json").write_text("[1]"),
    "no list": lambda folder: folder.with_name("model.files.json").unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_folder_is_made_again(cache, damage):
    build = Builder()
    folder = made_once("model", build)
    DAMAGES[damage](folder)
    assert made_once("model", build) == folder and build.times == 2
    assert (folder / "below/weights.bin").stat().st_size == 10_000 and (folder / "config.json").exists()
    made_once("model", build)
    assert build.times == 2


def test_what_fails_leaves_nothing_and_keeps_what_was_there(cache):
    def fails(folder: Path) -> None:
        (folder / "half").write_bytes(b"x")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        made_once("model", fails)
    assert not (cache / "model").exists() and not list(cache.glob("*unfinished*"))
    with pytest.raises(ValueError, match="no"), whole_folder(cache / "kept") as draft:
        fails_in = draft
        fails_in.mkdir()
        raise ValueError("no")
    assert not list(cache.glob("*kept*"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's full device")
def test_a_full_disk_is_an_error(cache):
    def fills(folder: Path) -> None:
        with open("/dev/full", "w") as out:
            out.write("x")

    def fills_in_other_words(folder: Path) -> None:
        raise RuntimeError("I/O error: No space left on device (os error 28)")  # as safetensors has it

    for build in (fills, fills_in_other_words):
        with pytest.raises(UserError, match=r"disk is full.*make room"):
            made_once("model", build)
        assert not (cache / "model").exists()
    with pytest.raises(sqlite3.OperationalError), full_disk_as_user_error("base"):
        sqlite3.connect(":memory:").execute("no SQL")


def test_a_cache_that_cannot_be_written_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    for place in (tmp_path / "file/cache", Path("/proc/cache"), Path("/dev/null/cache")):
        monkeypatch.setenv("WHISPER_SPACES_CACHE", str(place))
        with pytest.raises(UserError, match=r"cache cannot be written.*WHISPER_SPACES_CACHE"):
            made_once("model", Builder())


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="needs a second user")
def test_a_read_only_cache_is_used_if_it_is_whole(cache):
    build = Builder()
    folder = made_once("model", build)
    for part in (folder, cache, *(one for one in cache.parents if "pytest-" in str(one))):
        part.chmod(part.stat().st_mode | 0o055)
    os.seteuid(65534)
    try:
        assert made_once("model", build) == folder
        with pytest.raises(UserError, match="cache cannot be written"):
            made_once("other", build)
    finally:
        os.seteuid(0)


def test_a_user_without_a_home_gets_an_error(monkeypatch):
    for name in ("HOME", "XDG_CACHE_HOME", "WHISPER_SPACES_CACHE"):
        monkeypatch.delenv(name, raising=False)

    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nowhere)
    with pytest.raises(UserError, match="WHISPER_SPACES_CACHE"):
        cache_folder()


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / ("n" * 250 + ".srt")
    write_text(path, "one")
    with pytest.raises(ValueError, match="no"), whole_file(path) as draft:
        draft.write_text("two")
        raise ValueError("no")
    assert path.read_text() == "one" and os.listdir(path.parent) == [path.name]


def test_what_others_remove_meanwhile_is_left_out(tmp_path):
    """Uploads are counted while a closed page's are deleted; `rglob` raised FileNotFoundError."""
    for name in ("a", "b", "folder/c", "folder/inner/d"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tmp_path / "link").symlink_to(tmp_path / "a")
    everything = {path.relative_to(tmp_path).as_posix(): state.st_size for path, state in files_below(tmp_path)}
    assert everything == {"a": 1, "b": 1, "folder/c": 8, "folder/inner/d": 14}

    found = files_below(tmp_path)
    first, _ = next(found)
    for path in (tmp_path / "a", tmp_path / "b"):
        if path != first:
            path.unlink()
    shutil.rmtree(tmp_path / "folder")
    assert list(found) == []
    assert list(files_below(tmp_path / "folder")) == []
