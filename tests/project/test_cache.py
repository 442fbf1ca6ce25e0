"""The cache: what may go is known, goes by itself or by a command, and never under a program that reads it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from paths import ROOT

from shared.cli import cache as command
from shared.errors import UserError
from shared.system.cache import entries, made_once, remove

MAKES = """
import sys
from pathlib import Path
from shared.system.cache import made_once

def build(folder):
    (folder / "weights.bin").write_bytes(b"x" * 100_000)

for name in sys.argv[2:]:
    folder = made_once(name, build, of=[Path(sys.argv[1])] if sys.argv[1] else [])
    assert (folder / "weights.bin").stat().st_size == 100_000, name
print("made", flush=True)
"""
needs_locks = pytest.mark.skipif(sys.platform == "win32", reason="Windows removes no file that is open")


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("WHISPER_SPACES_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def build(folder: Path) -> None:
    (folder / "weights.bin").write_bytes(b"x" * 100_000)


def made_elsewhere(*names: str, source: Path | str = "") -> None:
    """By a process that has ended."""
    subprocess.run([sys.executable, "-c", MAKES, str(source), *names], cwd=ROOT, check=True, capture_output=True)


def kept(cache: Path) -> set[str]:
    """What lies in the cache but for empty locks."""
    return {path.name for path in cache.iterdir() if path.suffix != ".lock"}


def test_what_is_kept_is_listed_and_goes_without_a_trace(cache):
    made_elsewhere("model-v1")
    (cache / "mine").mkdir()
    (cache / "mine" / "notes.txt").write_text("mine")
    (one,) = entries()
    assert (one.folder, one.n_bytes, one.reason) == (cache / "model-v1", 100_000, None)
    assert 0 <= time.time() - one.used < 600
    assert remove(one) is None
    assert kept(cache) == {"mine"}


def test_a_newer_version_takes_the_place_of_the_older(cache):
    made_elsewhere("model-v2", "model-v10", "other-v1")
    made_once("model-v11", build)
    assert {one.folder.name for one in entries()} == {"model-v11", "other-v1"}


def test_a_new_conversion_of_a_folder_takes_the_place_of_the_old_one(cache, tmp_path):
    for name in ("run", "run2"):
        (tmp_path / name).mkdir()
    made_elsewhere("merged-aaaa", "converted-aaaa", source=tmp_path / "run")
    made_elsewhere("merged-cccc", source=tmp_path / "run2")
    made_once("merged-bbbb", build, of=[tmp_path / "run"])
    assert {one.folder.name for one in entries()} == {"merged-bbbb", "converted-aaaa", "merged-cccc"}
    (tmp_path / "run2").rmdir()
    reasons = {one.folder.name: one.reason for one in entries()}
    assert reasons == {"merged-bbbb": None, "converted-aaaa": None,
                       "merged-cccc": f"what it was made of is gone: {tmp_path / 'run2'}"}


@needs_locks
def test_what_a_running_program_may_read_stays(cache):
    waits = MAKES + "sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", waits, "", "model-v1"], cwd=ROOT, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout.readline() == "made\n"
        made_once("model-v2", build)
        old = next(one for one in entries() if one.folder.name == "model-v1")
        assert old.reason == "model-v2 took its place" and remove(old) == "a running program may read it"
        assert (cache / "model-v1/weights.bin").stat().st_size == 100_000
        reader.stdin.close()
        reader.wait()
    assert remove(old) is None and not (cache / "model-v1").exists()
    assert remove(entries()[0]) == "a running program may read it", "this one"


@needs_locks
def test_programs_that_begin_while_it_is_removed_find_it_whole(cache):
    """Each process makes it or finds it; the others remove it whenever nobody has it."""
    asking = [subprocess.Popen([sys.executable, "-c", MAKES, "", *(f"model-{n}" for n in range(20))], cwd=ROOT,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    while any(one.poll() is None for one in asking):
        for entry in entries():
            remove(entry)
    for one in asking:
        out, problem = one.communicate()
        assert one.returncode == 0 and out == "made\n", problem


def test_files_of_somebody_else_are_never_removed(cache):
    made_elsewhere("model-v1")
    (cache / "model-v1" / "notes.txt").write_text("mine")
    (one,) = entries()
    assert remove(one) == "it holds files that were not made here, such as notes.txt"
    made_once("model-v2", build)
    assert (cache / "model-v1" / "notes.txt").read_text() == "mine"


def test_what_an_ended_process_left_may_go(cache):
    unfinished = cache / ".model-v1.unfinished"
    unfinished.mkdir(parents=True)
    (unfinished / "half").write_bytes(b"x")
    (one,) = entries()
    assert one.reason == "left by a process that was ended" and remove(one) is None and kept(cache) == set()


def test_the_command_lists_and_removes(cache, capsys):
    assert command.run([]) == 0
    assert capsys.readouterr().out == f"{cache}: 0 folders, 0.0 MB\nNothing is kept\n"
    made_elsewhere("corpus-a", "model-v1")
    made_elsewhere("model-v2", source=cache)
    made_elsewhere("model-v1")  # by an older version of the program
    os.utime(cache / "corpus-a.used", (0, 86_400))
    assert command.run([]) == 0
    listed = capsys.readouterr().out
    assert f"{cache}: 3 folders, 0.3 MB" in listed and "0.1 MB in 1 of them may go: add --remove" in listed
    assert "model-v1  (model-v2 took its place)" in listed and "1970-01-02  corpus-a\n" in listed
    command.run(["--unused", "30"])
    assert "corpus-a  (not used for 30 days)" in capsys.readouterr().out and (cache / "corpus-a").is_dir()
    command.run(["--unused", "30", "--remove"])
    assert "0.2 MB in 2 folders removed" in capsys.readouterr().out
    assert [one.folder.name for one in entries()] == ["model-v2"]
    command.run(["--remove"])
    assert "Nothing may go" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["--unused", "-1"], ["--unused", "nan"], ["--unused", "soon"], ["all"]])
def test_a_wrong_word_is_told(cache, words):
    with pytest.raises(UserError):
        command.run(words)
