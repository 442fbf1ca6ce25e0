"""What is wrong with a file or with samples is said, and a hostile one takes neither memory nor minutes."""

from __future__ import annotations

import os
import re
import resource
import stat
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from media_files import TONE, ffmpeg, sources
from paths import ROOT

from shared.audio import SAMPLE_RATE, AudioSource, Waveform, load_audio
from shared.audio import ffmpeg as ffmpeg_module
from shared.audio.ffmpeg import CONTAINERS, MEDIA_SUFFIXES
from shared.errors import UserError


def test_an_encrypted_file_is_called_protected(tmp_path):
    for kind in ("mp4", "m4a", "mov"):
        path = tmp_path / f"protected.{kind}"
        ffmpeg(*sources(TONE), "-c:a", "aac", "-f", "mp4", "-encryption_scheme", "cenc-aes-ctr", "-encryption_key",
               "76a6c65c5ea762046bd748a2e632ccbb", "-encryption_kid", "a7e61c373e219033c21091fa607bf3b8", path)
        with pytest.raises(UserError, match=r"protected against copying \(DRM\)"):
            load_audio(path)
    ffmpeg(*sources(TONE), tmp_path / "plain.m4a")
    data = (tmp_path / "plain.m4a").read_bytes()
    assert data.count(b"mp4a\0\0\0\0\0\0") == 1
    for entry in (b"drms", b"aavd"):  # iTunes, Audible
        (tmp_path / "store.m4b").write_bytes(data.replace(b"mp4a\0\0\0\0\0\0", entry + bytes(6)))
        with pytest.raises(UserError, match="DRM"):
            load_audio(tmp_path / "store.m4b")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="needs a second user")
def test_a_file_that_may_not_be_read(tmp_path):
    path = tmp_path / "private.wav"
    ffmpeg(*sources(TONE), path)
    path.chmod(0)
    for folder in (tmp_path, *list(tmp_path.parents)[:2]):
        folder.chmod(folder.stat().st_mode | stat.S_IXOTH)
    os.seteuid(65534)
    try:
        with pytest.raises(UserError, match="may not be read"):
            load_audio(path)
    finally:
        os.seteuid(0)


def test_what_is_no_recording(tmp_path):
    (tmp_path / "folder.wav").mkdir()
    with pytest.raises(UserError, match="folder"):
        load_audio(tmp_path / "folder.wav")
    ffmpeg(*sources("testsrc=size=32x32:duration=1"), "-frames:v", "1", tmp_path / "picture.png")
    (tmp_path / "subtitles.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nHello.\n")
    for name in ("picture.png", "subtitles.srt"):
        with pytest.raises(UserError, match="not a sound or video file"):
            load_audio(tmp_path / name)


@pytest.mark.parametrize("script", ["#!/bin/sh\nexit 127\n", "#!/no/such/program\n", "not a program"])
def test_a_broken_ffmpeg_on_the_path_gives_way_to_the_wheels(tmp_path, script):
    (tmp_path / "ffmpeg").write_text(script)
    (tmp_path / "ffmpeg").chmod(0o755)
    code = "from shared.audio import ffmpeg_executable; print(ffmpeg_executable())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True,
                          env={**os.environ, "PATH": f"{tmp_path}:/usr/bin:/bin"})
    assert "imageio_ffmpeg" in done.stdout


REAL = ffmpeg_module.ffmpeg_executable()
LACKING = f"#!/bin/sh\n'{REAL}' \"$@\" | grep -v ' aac'\n"  # as distributions ship it without patented codecs
SANDBOXED = ("#!/bin/sh\ncase \"$*\" in *file:*) echo 'Error opening input: Permission denied' >&2; exit 1;; esac\n"
             f"exec '{REAL}' \"$@\"\n")  # as a snap's, which sees no /tmp and no hidden folder


@pytest.mark.parametrize("script", [LACKING, SANDBOXED], ids=["no aac", "sandboxed"])
def test_an_ffmpeg_that_lacks_codecs_or_may_not_open_files_gives_way_too(tmp_path, script):
    (tmp_path / "ffmpeg").write_text(script)
    (tmp_path / "ffmpeg").chmod(0o755)
    ffmpeg(*sources(TONE), "-c:a", "aac", tmp_path / "talk.m4a")
    code = f"from shared.audio import load_audio; print(load_audio({str(tmp_path / 'talk.m4a')!r}).duration)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False,
                          env={**os.environ, "PATH": f"{tmp_path}:/usr/bin:/bin"})
    assert done.returncode == 0 and float(done.stdout) == pytest.approx(3, abs=0.1), done.stderr


def test_where_only_a_sandboxed_ffmpeg_is_had_the_file_is_not_blamed(tmp_path, monkeypatch):
    (tmp_path / "ffmpeg").write_text(SANDBOXED)
    (tmp_path / "ffmpeg").chmod(0o755)
    ffmpeg(*sources(TONE), tmp_path / "talk.flac")
    monkeypatch.setattr(ffmpeg_module, "_candidates", lambda: [str(tmp_path / "ffmpeg")])
    ffmpeg_module._working.cache_clear()
    try:
        with pytest.raises(UserError, match="ffmpeg may not read this file, though this program may"):
            load_audio(tmp_path / "talk.flac")
    finally:
        ffmpeg_module._working.cache_clear()


NO_MEDIA = {
    "page.mp3": (b"<!DOCTYPE html><html><title>404</title></html>", "a web page"),
    "answer.m4a": (b'{"error": "not found"}', "JSON"),
    "lfs.wav": (b"version https://git-lfs.github.com/spec/v1\n", "LFS"),
    "blank.mp3": (bytes(200_000), "nothing but zeros"), "paper.mp3": (b"%PDF-1.7\n%\xe2\xe3\n", "PDF"),
    "talk.wav": (b"PK\3\4" + bytes(100), "zip archive"),
    "photo.wav": (b"\xff\xd8\xff\xe0\0\x10JFIF" + bytes(200), "picture"),
    "notes.mp3": ("Größe und Übung\n".encode() * 300, "which is text"),
    "song.mid": (b"MThd\0\0\0\6" + bytes(20), "MIDI"),
    "list.mp3": (b"#EXTM3U\nhttp://e.org/a.mp3\n", "playlist"),
    "movie.mp4": (b"d8:announce30:http://e.org", "torrent"),
}


@pytest.mark.parametrize("name", NO_MEDIA)
def test_what_is_no_recording_is_called_by_its_name(tmp_path, name):
    content, what = NO_MEDIA[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=what):
        load_audio(tmp_path / name)


def test_no_ffmpeg_that_runs_is_an_error(tmp_path, monkeypatch):
    ffmpeg_module._working.cache_clear()
    broken = tmp_path / "ffmpeg"
    broken.write_text("#!/bin/sh\necho 'cannot open shared object' >&2; exit 127\n")
    broken.chmod(0o755)
    monkeypatch.setattr(ffmpeg_module, "_candidates", lambda: [str(broken)])
    try:
        with pytest.raises(UserError, match=r"no ffmpeg that runs.*cannot open shared object"):
            ffmpeg_module.ffmpeg_executable()
    finally:
        ffmpeg_module._working.cache_clear()


def at_rate(path, rate: int) -> None:
    data = bytes([128]) * 100_000
    form = struct.pack("<HHIIHH", 1, 1, rate, rate, 1, 8)
    path.write_bytes(b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVEfmt " + struct.pack("<I", 16) + form + b"data"
                     + struct.pack("<I", len(data)) + data)


@pytest.mark.parametrize("rate", [1, 100, 999])
def test_sample_rates_that_hold_no_speech_are_refused(tmp_path, rate):
    at_rate(tmp_path / "slow.wav", rate)
    with pytest.raises(UserError, match=rf"sample rate is {rate} Hz; at least 1000 Hz"):
        load_audio(tmp_path / "slow.wav")


def png(width: int) -> bytes:
    """A black picture of some kilobytes whose pixels take width² × 3 bytes."""
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    pack = zlib.compressobj(9)
    rows = b"".join(pack.compress(bytes(1 + 3 * width)) for _ in range(width)) + pack.flush()
    header = struct.pack(">IIBBBBB", width, width, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["mkv", "m4a", "mp3", "flac"])
def test_a_huge_picture_takes_no_memory(tmp_path, kind):
    """As a track of a video, or as the cover of a song."""
    ffmpeg(*sources("color=size=16x16:duration=1"), "-frames:v", "1", tmp_path / "small.png")
    cover = [] if kind == "mkv" else ["-disposition:v", "attached_pic"]
    ffmpeg(*sources(TONE), "-i", tmp_path / "small.png", "-map", "0", "-map", "1", "-c:v", "copy", *cover,
           tmp_path / f"small.{kind}")
    small, big = (tmp_path / "small.png").read_bytes(), png(8000)
    data = (tmp_path / f"small.{kind}").read_bytes()
    assert data.count(small) == 1 and len(big) < 300_000
    header, at = big[:33], data.index(small)  # the same file with the size of the big one in its header
    path = tmp_path / f"big.{kind}"
    path.write_bytes(data[:at] + header + data[at + 33 :])
    code = ("import resource, sys; from shared.audio import load_audio; print(load_audio(sys.argv[1]).duration, "
            "resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)")
    done = subprocess.run([sys.executable, "-c", code, str(path)], cwd=ROOT, capture_output=True, text=True, check=True)
    seconds, kilobytes = map(float, done.stdout.split())
    assert seconds == pytest.approx(3, abs=0.2) and kilobytes < 150_000


def test_decoding_runs_under_a_limit_of_memory():
    assert ffmpeg_module.LIMITS.memory <= 512 << 20 and resource.prlimit  # processes sets it; see test_processes


WRONG = {
    "int16": (np.zeros(100, np.int16), "int16.*divide by 32768"), "int32": (np.zeros(100, np.int32), "int32"),
    "NaN": (np.array([0.0, np.nan], np.float32), "NaN"), "infinite": (np.array([0.0, np.inf], np.float32), "infinite"),
    "two channels": (np.zeros((2, 100), np.float32), "not one channel"),
    "integers as floats": (np.full(100, 3000.0, np.float32), "too loud"), "a number": (5, "not something"),
    "bytes": (b"RIFF", "not something"), "a list of numbers": ([0.1, 0.2], "not an array"),
    "a Waveform of integers": (Waveform(np.zeros(100, np.int16)), "int16"),
    "blocks of integers": (iter([np.zeros(100, np.int16)]), "int16"), "bool": (np.zeros(100, bool), "bool"),
}


@pytest.mark.parametrize("name", WRONG)
def test_samples_that_are_not_what_they_should_be_are_refused(name):
    source, match = WRONG[name]
    with pytest.raises(UserError, match=match):
        list(AudioSource(source))


def test_arrays_and_tensors_are_sources():
    import torch

    samples = np.sin(np.arange(40 * SAMPLE_RATE) / 10).astype(np.float64) * 0.5
    for source in (samples, samples.astype(np.float32), Waveform(samples.astype(np.float32)), torch.tensor(samples),
                   torch.tensor(samples, requires_grad=True), iter([samples[:100], samples[100:]])):
        blocks = list(AudioSource(source))
        assert all(block.dtype == np.float32 for block in blocks)
        np.testing.assert_allclose(np.concatenate(blocks), samples, atol=1e-6)


def test_the_list_of_suffixes_is_that_of_ffmpegs_containers():
    """Every ending that ffmpeg names for one of our containers is known, but for those that are no sound or video."""
    not_media = {".avif", ".heic", ".heif", ".ism", ".mks"}
    executable = ffmpeg_module.ffmpeg_executable()
    there = subprocess.run([executable, "-v", "0", "-demuxers"], capture_output=True, text=True).stdout
    names = {name for names in re.findall(r"^ +D\S* +(\S+) ", there, re.M) for name in names.split(",")}
    assert set(CONTAINERS.split(",")) <= names
    for container in CONTAINERS.split(","):
        text = subprocess.run([executable, "-v", "0", "-h", f"demuxer={container}"], capture_output=True,
                              text=True).stdout
        if match := re.search(r"Common extensions: (.*)\.", text):
            assert {f".{name}" for name in match[1].split(",")} - not_media <= MEDIA_SUFFIXES, container
    assert {".m4b", ".mka", ".ts", ".flv", ".mts", ".mp2", ".wma", ".opus", ".3gp"} <= MEDIA_SUFFIXES
