"""Times are those of the file's own clock, whatever the container."""

from __future__ import annotations

import numpy as np
import pytest
from media_files import PICTURE, TONE, ffmpeg, late, sounding, sources

from shared.audio import SAMPLE_RATE, load_audio

LATE = {
    "mkv": ["-c:v", "libx264", "-c:a", "aac"], "opus.mkv": ["-c:a", "libopus"], "mp4": [], "mov": [], "ts": [],
    "webm": ["-c:v", "libvpx"], "ogv": ["-c:v", "libtheora", "-c:a", "libvorbis"], "mpg": [], "wmv": [],
    "flv": ["-ar", "44100", "-c:a", "aac"],
}


@pytest.mark.parametrize("kind", LATE)
def test_sound_that_begins_later_than_the_picture(tmp_path, kind):
    path = late(tmp_path / f"late.{kind}", *LATE[kind])
    (start, end), = sounding(load_audio(path).samples)  # TruncatedAudio would be raised: the picture goes on to 10 s
    assert start == pytest.approx(5, abs=0.15) and end == pytest.approx(8, abs=0.25)
    (start, end), = sounding(load_audio(path, start=4.0, end=6.5).samples)
    assert start == pytest.approx(1, abs=0.15) and end == pytest.approx(2.5, abs=0.05)
    assert load_audio(path, start=6.0, end=7.0).duration == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("kind", ["m4a", "mov", "mka"])
def test_sound_alone_that_begins_later(tmp_path, kind):
    """An edit list of MP4, or timestamps of Matroska, whose clock begins at 0."""
    (start, _), = sounding(load_audio(late(tmp_path / f"late.{kind}", picture=None)).samples)
    assert start == pytest.approx(5, abs=0.15)


@pytest.mark.parametrize("kind, offset", [("ts", 0), ("ogg", 5), ("mkv", 4000), ("ts", 4000)])
def test_a_piece_of_a_broadcast_begins_at_zero(tmp_path, kind, offset):
    path = tmp_path / f"piece.{kind}"
    ffmpeg("-itsoffset", offset, *sources(TONE), "-ar", "44100", path)
    (start, end), = sounding(load_audio(path).samples)
    assert start <= 0.1 and end == pytest.approx(3, abs=0.2)
    assert load_audio(path, start=1.0, end=2.0).duration == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("kind", ["webm", "mkv", "mp4", "mov", "ts", "ogg", "flv"])
def test_a_recorder_that_paused(tmp_path, kind):
    path = tmp_path / f"paused.{kind}"
    options = {"webm": ["-c:a", "libopus"], "ogg": ["-c:a", "libvorbis"], "flv": ["-c:a", "aac"]}.get(kind, [])
    rate = "48000" if kind == "webm" else "44100"
    ffmpeg(*sources(TONE), "-af", "asetpts='if(gt(T,1),PTS+8/TB,PTS)'", "-ar", rate, *options, path)
    (first, pause), (back, last) = sounding(load_audio(path).samples)
    assert (first, pause) == pytest.approx((0, 1), abs=0.2) and (back, last) == pytest.approx((9, 11), abs=0.25)
    (start, _), = sounding(load_audio(path, start=5.0, end=10.0).samples)
    assert start == pytest.approx(4, abs=0.25)


@pytest.mark.parametrize("kind", ["ts", "mp3", "ogg", "aac"])
def test_files_joined_end_to_end_lose_nothing(tmp_path, kind):
    """Their timestamps begin again: what overlaps must not be dropped."""
    one, joined = tmp_path / f"one.{kind}", tmp_path / f"joined.{kind}"
    ffmpeg(*sources(TONE), "-ar", "44100", one)
    joined.write_bytes(one.read_bytes() * 3)
    assert load_audio(joined).duration == pytest.approx(9, abs=0.5)


def test_negative_timestamps_and_priming_shift_nothing(tmp_path):
    """AAC begins with 1024 samples of priming, Opus with 312: the edit list or the header takes them off."""
    for kind, options in {"m4a": [], "mkv": ["-c:a", "aac"], "webm": ["-c:a", "libopus"]}.items():
        path = tmp_path / f"primed.{kind}"
        ffmpeg(*sources(f"{TONE},adelay=1000"), "-ar", "48000", *options, path)
        tenth = np.flatnonzero(np.abs(load_audio(path).samples) > 0.03)[0] / SAMPLE_RATE
        assert tenth == pytest.approx(1.0, abs=0.03)


def test_a_jump_beyond_the_files_length_is_not_believed(tmp_path):
    """Matroska timestamps of a week later, with a header that says 3 s: no week of silence."""
    path = tmp_path / "jump.mkv"
    ffmpeg(*sources(TONE), "-af", "asetpts='if(gt(T,1),PTS+600000/TB,PTS)'", "-c:a", "pcm_s16le", path)
    data = path.read_bytes()
    at = data.index(b"\x44\x89\x88") + 3  # Duration, a float64 in milliseconds
    path.write_bytes(data[:at] + np.array([3000.0], ">f8").tobytes() + data[at + 8 :])
    assert load_audio(path).duration == pytest.approx(3, abs=0.3)


def test_picture_that_begins_later_moves_nothing(tmp_path):
    path = tmp_path / "late-picture.mkv"
    ffmpeg(*sources(TONE), "-itsoffset", "2", *sources(PICTURE.format(4)), "-map", "0", "-map", "1", path)
    (start, end), = sounding(load_audio(path).samples)
    assert start == 0 and end == pytest.approx(3, abs=0.15)
