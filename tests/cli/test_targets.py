"""Which recordings are meant and where each result goes, before any is read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shared.cli.inputs import find_inputs
from shared.cli.options import request
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


def test_what_is_there_is_never_written_over_unasked(here):
    """A subtitle that somebody has edited, and the text of what was piped in before."""
    here("talk.mp3", "talk.srt", "stdin.srt", "stdin-2.srt")
    os.mkfifo("talk")
    inputs, _ = find_inputs(["talk.mp3", "-", "talk"])
    edited, piped, pipe = planned(inputs, None, ("srt", "txt"), False)
    assert edited.kept == {Path("talk.srt")} and not edited.is_done
    write(edited, Transcript((Segment("Grazie.", 0, 1),), "it", 1.0), ("srt", "txt"))
    assert Path("talk.srt").read_bytes() == b"x" and Path("talk.txt").read_text() == "Grazie.\n"
    assert [str(path) for path in piped.targets] == ["stdin-3.srt", "stdin-3.txt"]
    assert [str(path) for path in pipe.targets] == ["talk-2.srt", "talk-2.txt"]
    assert all(job.kept == frozenset() for job in planned(inputs, None, ("srt",), True))


def test_a_link_that_is_done_is_left_alone_and_a_long_one_is_not_taken_for_another(here):
    long = "https://e.org/" + "x" * 90
    (one,), _ = find_inputs(["https://e.org/talk"])
    here("e-org-talk.srt")
    assert planned([one], None, ("srt",), False)[0].is_done
    stems = {find_inputs([long + end])[0][0].stem for end in ("1", "2")}
    assert len(stems) == 2


def test_a_result_that_is_older_than_its_recording_may_be_anothers(here):
    here("rec.wav", "rec.txt")
    os.utime("rec.txt", (1e9, 1e9))
    (one,), _ = find_inputs(["rec.wav"])
    assert planned([one], None, ("txt",), False)[0].is_older
    os.utime("rec.wav", (1e8, 1e8))
    assert not planned([one], None, ("txt",), False)[0].is_older


def test_links_of_the_file_system(here):
    """Folders are followed once, a link to nowhere is reported, and a file of two names has two results."""
    here("far/talk.mp3", "in/a.mp3")
    os.symlink("../far", "in/session")
    os.symlink("..", "in/loop")
    os.symlink("a.mp3", "in/b.mp3")
    os.symlink("gone.mp3", "in/lost.mp3")
    inputs, failures = find_inputs(["in"])
    assert sorted(one.shown for one in inputs) == ["in/a.mp3", "in/b.mp3", "in/session/talk.mp3"]
    assert [one.shown for one in failures] == ["in/lost.mp3"] and "gone.mp3" in failures[0].reason
    with pytest.raises(UserError, match="link names a file that is not there"):
        find_inputs(["in/lost.mp3"])


@pytest.mark.parametrize("ending", ["mpga", "3gpp", "ogm", "bwf", "mp4v", "tod", "mpe", "m4p", "act"])
def test_endings_of_phones_cameras_and_recorders(here, ending):
    here(f"in/talk.{ending}", "in/other.mp3")
    assert len(targets(["in"])) == 2


@pytest.mark.parametrize("text", ["srt,txt", ".srt, .txt", "SRT txt", "srt,txt,"])
def test_formats_as_people_write_them(text):
    assert request(["talk.mp3", "--format", text]).formats == ("srt", "txt")


def test_formats_given_as_paths_get_a_hint(here):
    with pytest.raises(UserError, match="joined by a comma"):
        find_inputs(["txt"])
