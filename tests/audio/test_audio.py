"""Any media file in, the same 16 kHz mono out; every bad file its own message; ffmpeg never left behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time

import numpy as np
import pytest
from speech import clips

from shared.audio import SAMPLE_RATE, ffmpeg_executable, load_audio, probe, stream_audio
from shared.errors import Cancelled, TruncatedAudio, UserError
from shared.system import processes
from shared.units import spoken_time

CLIP = clips("it")[0].path


def convert(target, *options: str, given: tuple[str, ...] = ()) -> None:
    subprocess.run([ffmpeg_executable(), "-v", "error", "-y", *given, "-i", str(CLIP), *options, str(target)],
                   check=True)


FORMATS = {
    "wav": [], "24-bit.wav": ["-c:a", "pcm_s24le"], "float.wav": ["-c:a", "pcm_f32le"], "mp3": [], "m4a": [],
    "flac": [], "ogg": ["-c:a", "libvorbis"], "opus": [], "webm": ["-c:a", "libopus"], "mkv": [], "g722": [],
    "stereo.wav": ["-ac", "2", "-ar", "44100"], "mov": [], "aiff": [], "au": [],
    "telephone.wav": ["-ar", "8000", "-c:a", "pcm_mulaw"],
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_sound(tmp_path, name):
    path = tmp_path / f"clip.{name}"
    convert(path, *FORMATS[name])
    expected, got = load_audio(CLIP).samples, load_audio(path).samples
    assert got.dtype == np.float32 and got.ndim == 1 and np.abs(got).max() <= 1
    assert abs(len(got) - len(expected)) < 0.1 * SAMPLE_RATE
    # Codecs delay by some milliseconds, and the telephone band loses the top: compare at the best lag.
    n = min(len(got), len(expected)) - 2000
    correlation = max(np.corrcoef(expected[1000 : 1000 + n // 2], got[1000 + lag : 1000 + lag + n // 2])[0, 1]
                      for lag in range(-600, 1000, 4))
    assert correlation > 0.85


def test_video_gives_its_sound(tmp_path):
    path = tmp_path / "clip.mp4"
    subprocess.run([ffmpeg_executable(), "-v", "error", "-f", "lavfi", "-i", "testsrc=size=64x64:rate=5:duration=4",
                    "-i", str(CLIP), "-shortest", str(path)], check=True)
    assert probe(path).has_video
    assert load_audio(path).duration == pytest.approx(4, abs=0.2)


def test_blocks_are_the_whole(tmp_path):
    whole = load_audio(CLIP).samples
    blocks = list(stream_audio(CLIP, block_seconds=0.5))
    assert {len(block) for block in blocks[:-1]} == {8000}
    np.testing.assert_array_equal(np.concatenate(blocks), whole)


def test_bytes_are_as_good_as_a_file():
    np.testing.assert_array_equal(load_audio(CLIP.read_bytes()).samples, load_audio(CLIP).samples)


def test_a_part_is_cut_where_it_was_asked():
    whole = load_audio(CLIP).samples
    part = load_audio(CLIP, start=1.0, end=2.5).samples
    assert len(part) == pytest.approx(1.5 * SAMPLE_RATE, abs=160)
    assert np.corrcoef(part[:16000], whole[16000:32000])[0, 1] > 0.95


def test_odd_file_names(tmp_path):
    for name in ("two words.wav", "it's \"quoted\".wav", "Пример 例.wav", "-dash.wav", "%d.wav", "a:b.wav"):
        path = tmp_path / name
        convert(tmp_path / "plain.wav")
        (tmp_path / "plain.wav").rename(path)
        assert load_audio(path).duration > 1


def bad_files(folder):
    wav = folder / "whole.wav"
    convert(wav)
    mp4 = folder / "whole.mp4"
    convert(mp4)
    contents = {
        "empty.wav": b"", "text.mp3": b"This is a text file, not music.\n" * 50, "noise.wav": bytes(range(256)) * 40,
        "list.m3u8": b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n",
        "list.ffconcat": f"ffconcat version 1.0\nfile '{CLIP}'\n".encode(),
        "list.mp3": f"ffconcat version 1.0\nfile '{CLIP}'\n".encode(),
        "cut.mp4": mp4.read_bytes()[: mp4.stat().st_size // 2],
        "session.sdp": b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
        "header.wav": wav.read_bytes()[:44],
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    subprocess.run([ffmpeg_executable(), "-v", "error", "-f", "lavfi", "-i", "testsrc=size=64x64:rate=5:duration=1",
                    str(folder / "silent-film.mp4")], check=True)


@pytest.mark.parametrize("name, message", [
    ("empty.wav", "empty"), ("text.mp3", "not a sound"), ("noise.wav", "not a sound"), ("list.m3u8", "playlist"),
    ("list.ffconcat", "playlist"), ("list.mp3", "playlist"), ("cut.mp4", "cut off"), ("session.sdp", ""),
    ("silent-film.mp4", "no sound"), ("header.wav", ""), ("missing.wav", "no such file"),
])
def test_bad_files_say_what_is_wrong(tmp_path, name, message):
    bad_files(tmp_path)
    with pytest.raises(UserError) as caught:
        load_audio(tmp_path / name)
    assert message in str(caught.value) and "What to do:" in str(caught.value)


def test_a_truncated_file_gives_its_good_part_and_then_says_so(tmp_path):
    whole = tmp_path / "whole.wav"
    convert(whole)
    cut = tmp_path / "cut.wav"
    cut.write_bytes(whole.read_bytes()[:64_000])
    decoded = []
    with pytest.raises(TruncatedAudio, match="cut off"):
        decoded.extend(stream_audio(cut))
    assert len(np.concatenate(decoded)) == pytest.approx(32_000, abs=100)


def test_limits(tmp_path):
    with pytest.raises(UserError, match=r"too long.*Limit: 2 s"):
        load_audio(CLIP, max_seconds=2)
    with pytest.raises(UserError, match="too large"):
        load_audio(CLIP, max_bytes=1000)
    raw = tmp_path / "no-length.aac"  # ADTS tells no length: the limit must hold while reading, too
    convert(raw, given=("-stream_loop", "3"))
    with pytest.raises(UserError, match="too long"):
        list(stream_audio(raw, max_seconds=1))
    with pytest.raises(UserError, match="start lies behind"):
        load_audio(CLIP, start=100)
    with pytest.raises(UserError, match="part to transcribe is empty"):
        load_audio(CLIP, start=2, end=1)


def test_cancel_ends_ffmpeg(tmp_path):
    long = tmp_path / "long.flac"
    subprocess.run([ffmpeg_executable(), "-v", "error", "-f", "lavfi", "-i", "anoisesrc=d=3600:a=0.01:r=16000",
                    str(long)], check=True)
    cancel = threading.Event()
    blocks = stream_audio(long, cancel=cancel)
    next(blocks)
    assert our_ffmpegs(long)
    cancel.set()
    with pytest.raises(Cancelled):
        for _ in blocks:
            pass
    assert not our_ffmpegs(long)


def test_closing_the_stream_ends_ffmpeg(tmp_path):
    long = tmp_path / "long.flac"
    subprocess.run([ffmpeg_executable(), "-v", "error", "-f", "lavfi", "-i", "anoisesrc=d=3600:a=0.01:r=16000",
                    str(long)], check=True)
    blocks = stream_audio(long)
    next(blocks)
    blocks.close()
    assert not our_ffmpegs(long)


def our_ffmpegs(path) -> list[int]:
    """ffmpeg processes that have this file open, by their command lines."""
    time.sleep(0.2)
    listing = subprocess.run(["ps", "-wweo", "pid,args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listing.splitlines() if str(path) in line and "ffmpeg" in line]


@pytest.mark.parametrize("seconds, text", [(0.44, "0.4 s"), (5, "5 s"), (125, "2 min 05 s"), (60, "1 min"),
                                           (3723, "1 h 02 min")])
def test_spoken_time(seconds, text):
    assert spoken_time(seconds) == text


def test_a_header_is_read_again_only_once_the_file_was_written(tmp_path, monkeypatch):
    starts = []
    run = processes.run
    path = tmp_path / "a.wav"
    shutil.copyfile(CLIP, path)
    probe(CLIP)  # whether ffmpeg runs at all is tried once
    monkeypatch.setattr(processes, "run", lambda *given: starts.append(given) or run(*given))
    first = probe(path)
    assert probe(path) == first and len(starts) == 1
    content = path.read_bytes()
    times = path.stat()
    path.write_bytes(content[: len(content) // 2] + bytes(len(content) - len(content) // 2))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # as some programs that write tags do
    probe(path)
    assert len(starts) == 2
    path.unlink()
    with pytest.raises(UserError, match="no such file"):
        probe(path)
