"""Sound written as files."""

from __future__ import annotations

import threading

import pytest
from media_files import PICTURE, TONE, ffmpeg, sounding, sources

from shared.audio import load_audio, probe, write_mp3
from shared.errors import Cancelled, UserError


def test_a_part_becomes_an_mp3(tmp_path):
    ffmpeg(*sources(PICTURE.format(4), f"{TONE},adelay=1000"), tmp_path / "talk.mkv")
    assert write_mp3(tmp_path / "talk.mkv", tmp_path / "part.mp3", start=0.5, end=2.5)
    (start, end), = sounding(load_audio(tmp_path / "part.mp3").samples)
    assert start == pytest.approx(0.5, abs=0.15) and end == pytest.approx(2.0, abs=0.15)
    assert not probe(tmp_path / "part.mp3").has_video


def test_a_file_that_is_cut_off_gives_what_there_is(tmp_path):
    ffmpeg(*sources(TONE), tmp_path / "whole.wav")
    (tmp_path / "cut.wav").write_bytes((tmp_path / "whole.wav").read_bytes()[:40_000])
    assert write_mp3(tmp_path / "cut.wav", tmp_path / "player.mp3")
    assert load_audio(tmp_path / "player.mp3").duration == pytest.approx(1.25, abs=0.1)


def test_what_fails_leaves_no_file(tmp_path):
    (tmp_path / "text.wav").write_text("no sound")
    ffmpeg(*sources(TONE), tmp_path / "whole.wav")
    with pytest.raises(UserError):
        write_mp3(tmp_path / "text.wav", tmp_path / "a.mp3")
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Cancelled):
        write_mp3(tmp_path / "whole.wav", tmp_path / "b.mp3", cancel=cancel)
    assert not write_mp3(tmp_path / "whole.wav", tmp_path / "no folder" / "c.mp3")
    assert not list(tmp_path.glob("**/*.mp3"))
