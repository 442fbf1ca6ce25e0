"""Which recordings are meant and where each result goes, before any is read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shared.cli.inputs import find_inputs
from shared.cli.targets import planned, unwritable, write
from shared.errors import UserError
from shared.transcript import Segment, Transcript


def targets(named: list[str], output: str | None = None, *, formats: tuple[str, ...] = ("srt",), overwrite: bool = False
            ) -> list[str]:
    inputs, failures = find_inputs(named)
    assert failures == []
    jobs = planned(inputs, None if output is None else Path(output), formats, overwrite)
    return [os.path.relpath(path) for job in jobs for path in job.targets]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def make(*names: str) -> None:
        for name in names:
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).write_bytes(b"x")

    return make


@pytest.mark.parametrize("files, named, output, expected", [
    (["talk.mp3"], ["talk.mp3"], None, ["talk.srt"]),
    (["in/talk.mp3"], ["in/talk.mp3"], None, ["in/talk.srt"]),
    (["in/x/talk.mp3"], ["in"], "out", ["out/x/talk.srt"]),
    (["a.mp3", "a.wav", "b.wav"], ["."], None, ["a.mp3.srt", "a.wav.srt", "b.srt"]),
    (["a/talk.mp3", "b/talk.mp3"], ["a/talk.mp3", "b/talk.mp3"], "out", ["out/a/talk.srt", "out/b/talk.srt"]),
    (["a/talk.mp3", "b/talk.mp3"], ["a", "b"], "out", ["out/a/talk.srt", "out/b/talk.srt"]),
    (["x/a/t.mp3", "y/a/t.mp3"], ["x", "y"], "out", ["out/x/a/t.srt", "out/y/a/t.srt"]),
    (["t.mp3", "b/t.mp3"], ["t.mp3", "b/t.mp3"], "out", ["out/t.srt", "out/b/t.srt"]),
    (["a/T.mp3", "b/t.mp3"], ["a/T.mp3", "b/t.mp3"], "out", ["out/a/T.srt", "out/b/t.srt"]),
    (["a/t.mp3", "a/t.wav", "b/t.mp3"], ["a", "b"], "out", ["out/a/t.srt", "out/t.wav.srt", "out/b/t.srt"]),
    (["talk of 26.11"], ["talk of 26.11"], None, ["talk of 26.11.srt"]),
    (["talk"], ["talk"], None, ["talk.srt"]),
    (["a.srt"], ["a.srt"], None, ["a.srt.srt"]),  # never over an input
    (["talk.mp3"], ["talk.mp3", "./talk.mp3", "*.mp3"], None, ["talk.srt"]),
    ([], ["https://e.org/x?v=1", "https://e.org/x?v=2"], None, ["e-org-x-v-1.srt", "e-org-x-v-2.srt"]),
    ([], ["https://e.org/x?v=1", "https://e.org/x/v/1"], None, ["e-org-x-v-1-1.srt", "e-org-x-v-1-2.srt"]),
    (["in/.hidden.mp3", "in/._talk.mp3", "in/talk.mp3", "in/.cache/x.mp3"], ["in"], None, ["in/talk.srt"]),
    ([f"in/{'a' * 239}.mp3"], ["in"], "out", [f"out/{'a' * 239}.srt"]),
])
def test_no_two_recordings_share_a_file(here, files, named, output, expected):
    here(*files)
    assert targets(named, output) == expected


def test_a_file_that_may_be_anothers_is_not_taken_for_this_ones(here):
    here("a.mp3", "a.wav", "a.srt")
    assert targets(["a.wav"]) == ["a.wav.srt"]
    assert targets(["a.wav"], overwrite=True) == ["a.srt"]
    Path("a.mp3").unlink()
    assert targets(["a.wav"]) == ["a.srt"]


def test_folders_of_every_kind_of_recording(here):
    endings = ["m4b", "mka", "ts", "flv", "mts", "mp2", "mp3", "wav", "webm", "MP4"]
    here(*[f"in/{i}.{ending}" for i, ending in enumerate(endings)])
    assert len(targets(["in"])) == len(endings)


def test_nothing_found_is_an_error(here):
    here("in/notes.txt")
    for named in ("in", "in*", "nothing", "no*thing.mp3"):
        with pytest.raises(UserError, match=r"No recordings were found|no such file or folder"):
            find_inputs([named])


def test_pipes_and_devices_are_streams(here):
    os.mkfifo("sound")
    inputs, _ = find_inputs(["sound", "/dev/stdin", "-", "/dev/fd/0"])
    assert [(one.stem, one.is_stream, str(one.folder)) for one in inputs] == [
        ("sound", True, "."), ("stdin", True, "."), ("stdin", True, "."), ("stdin", True, ".")]
    jobs = planned(inputs, None, ("txt",), False)
    assert len({job.targets for job in jobs}) == 4


def test_what_cannot_be_written_is_known_before_the_work(here):
    here("talk.mp3", "out", f"{'a' * 251}.mp3")
    (one, long), _ = find_inputs(["talk.mp3", f"{'a' * 251}.mp3"])
    assert "is a file" in unwritable(planned([one], Path("out"), ("srt",), False)[0])
    assert "is a file" in unwritable(planned([one], Path("out/deeper"), ("srt",), False)[0])
    assert "too long" in unwritable(planned([long], None, ("json",), False)[0])
    Path("talk.srt").mkdir()
    assert "is a folder" in unwritable(planned([one], None, ("srt",), False)[0])
    assert unwritable(planned([one], Path("new/deep"), ("srt",), False)[0]) is None
    assert unwritable(planned([one], Path("/proc/1"), ("srt",), False)[0]) is not None
    assert not Path("new").exists()


def test_a_name_as_long_as_names_may_be_is_written(here):
    here(f"{'é' * 119}a.mp3")
    (one,), _ = find_inputs(["."])
    (job,) = planned([one], None, ("txt",), False)
    job = type(job)(one, (job.targets[0].with_name("n" * 251 + ".txt"),))
    assert unwritable(job) is None
    write(job, Transcript((Segment("Grazie.", 0, 1),), "it", 1.0), ("txt",))
    assert job.targets[0].read_text() == "Grazie.\n" and sorted(os.listdir(".")) == sorted(
        [job.targets[0].name, one.path.name])
