"""A file that ends before its header says is called cut off; no other one is."""

from __future__ import annotations

import struct
import subprocess

import numpy as np
import pytest
from media_files import PICTURE, TONE, ffmpeg, sources

from feature_pipeline.decode import decode
from feature_pipeline.rows import AudioRef
from shared.audio import SAMPLE_RATE, AudioSource, Waveform, ffmpeg_executable, load_audio, stream_audio
from shared.audio.structure import Structure, structure
from shared.errors import TruncatedAudio

WHOLE = ["wav", "w64", "aiff", "caf", "au", "mp3", "flac", "ogg", "opus", "m4a", "mov", "mka", "webm", "wma", "avi",
         "aac", "ts", "flv", "wv", "tta", "mp2", "ac3", "voc", "rf64.wav", "fragmented.mp4"]
OPTIONS = {"webm": ["-c:a", "libopus", "-ar", "48000"], "flv": ["-ar", "44100", "-c:a", "aac"], "ac3": ["-ar", "48000"],
           "ogg": ["-c:a", "libvorbis"], "rf64.wav": ["-rf64", "always"],
           "mka": ["-c:a", "pcm_s16le"],
           "fragmented.mp4": ["-movflags", "frag_keyframe+empty_moov", "-frag_duration", "500000"]}


def made(folder, kind):
    path = folder / f"whole.{kind}"
    ffmpeg(*sources(TONE), *OPTIONS.get(kind, []), path)
    return path


def both_ways(path) -> Waveform:
    """What the program and the feature pipeline decode, which must be one and the same."""
    alone = load_audio(path)
    batch, = decode([AudioRef.file(path)], 60)
    assert isinstance(batch, Waveform)
    np.testing.assert_array_equal(batch.samples, alone.samples)
    return alone


@pytest.mark.parametrize("kind", WHOLE)
def test_a_whole_file_is_not_called_cut_off(tmp_path, kind):
    assert both_ways(made(tmp_path, kind)).duration == pytest.approx(3, abs=0.2)


SIZED = ["wav", "w64", "aiff", "caf", "au", "flac", "mp3", "m4a", "mka", "wma", "avi", "rf64.wav", "wv", "tta"]


@pytest.mark.parametrize("kind", SIZED)
def test_a_file_without_its_end_is_called_cut_off(tmp_path, kind):
    path = made(tmp_path, kind)
    if kind == "m4a":  # an MP4 with its index first, else nothing can be read
        ffmpeg("-i", path, "-c", "copy", "-movflags", "+faststart", tmp_path / "index-first.m4a")
        path = tmp_path / "index-first.m4a"
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    blocks = []
    with pytest.raises(TruncatedAudio, match="cut off"):
        blocks.extend(stream_audio(path))
    assert 1 < sum(map(len, blocks)) / SAMPLE_RATE < 2.5
    source = AudioSource(path)
    assert len(np.concatenate(list(source))) > SAMPLE_RATE and "cut off" in source.warnings[0]
    assert isinstance(next(decode([AudioRef.file(path)], 60)), TruncatedAudio)
    assert load_audio(path, end=0.5).duration == pytest.approx(0.5, abs=0.01)  # this part is whole


@pytest.mark.parametrize("kind", ["ogg", "opus", "aac"])
@pytest.mark.parametrize("share", [0.55, 0.6, 0.9, 0.999])
def test_a_last_page_or_frame_that_is_not_whole_is_called_cut_off(tmp_path, kind, share):
    """These formats name no length; where the cut falls within a page or frame, its own length shows it."""
    path = tmp_path / f"long.{kind}"
    ffmpeg(*sources("anoisesrc=d=12:r=16000:a=0.2"), *OPTIONS.get(kind, []), path)
    assert structure(path) == Structure()
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    source = AudioSource(path)
    assert len(np.concatenate(list(source))) and "cut off" in source.warnings[0]


def test_what_follows_a_whole_ogg_or_aac_is_no_cut(tmp_path):
    for kind in ("ogg", "aac"):
        path = made(tmp_path, kind)
        data = path.read_bytes()
        for extra in (b"TAG" + bytes(125), bytes(5000), b"\xff" * 300):
            path.write_bytes(data + extra)
            assert not structure(path).missing


@pytest.mark.parametrize("kind", ["mp4", "mkv", "avi", "webm", "flv", "ts"])
def test_a_picture_that_goes_on_longer_than_the_sound(tmp_path, kind):
    path = tmp_path / f"long.{kind}"
    options = {"webm": ["-c:a", "libopus"]}.get(kind, ["-ar", "44100"])
    ffmpeg(*sources(PICTURE.format(20), TONE), *options, path)
    source = AudioSource(path)
    assert len(np.concatenate(list(source))) / SAMPLE_RATE == pytest.approx(3, abs=0.3) and source.warnings == []


def wav_bytes(folder) -> bytearray:
    ffmpeg(*sources(TONE), "-bitexact", folder / "plain.wav")
    data = bytearray((folder / "plain.wav").read_bytes())
    assert data[36:40] == b"data" and len(data) == 44 + 96_000
    return data


@pytest.mark.parametrize("length", [0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x7FFFF000, 0x7FFFFFDB, 0, 0xFFFFFFDB])
def test_a_wav_length_that_means_unknown(tmp_path, length):
    data = wav_bytes(tmp_path)
    data[4:8] = struct.pack("<I", min(length + 36, 0xFFFFFFFF) if length else 0)
    data[40:44] = struct.pack("<I", length)
    (tmp_path / "streamed.wav").write_bytes(data)
    assert both_ways(tmp_path / "streamed.wav").duration == pytest.approx(3, abs=0.001)
    assert not AudioSource(tmp_path / "streamed.wav").warnings


def test_a_wav_header_that_names_less_than_there_is(tmp_path):
    """A recorder that died after a second: all of it is read, and the header's mistake is told."""
    data = wav_bytes(tmp_path)
    data[4:8], data[40:44] = struct.pack("<I", 36 + 32_000), struct.pack("<I", 32_000)
    (tmp_path / "short.wav").write_bytes(data)
    source = AudioSource(tmp_path / "short.wav")
    assert len(np.concatenate(list(source))) == 3 * SAMPLE_RATE and "names 2 s less than there is" in source.warnings[0]
    assert both_ways(tmp_path / "short.wav").duration == 3 and source.length == pytest.approx(3, abs=0.01)
    assert load_audio(tmp_path / "short.wav", start=2.0, end=2.5).duration == 0.5  # beyond what the header names


def test_chunks_after_the_sound_of_a_wav_are_no_sound(tmp_path):
    data = wav_bytes(tmp_path)
    for extra in (b"LIST" + struct.pack("<I", 20_000) + b"INFO" + b"x" * 19_996, b"\0", b"junk"):
        (tmp_path / "tagged.wav").write_bytes(data + extra)
        source = AudioSource(tmp_path / "tagged.wav")
        assert len(np.concatenate(list(source))) == 3 * SAMPLE_RATE and source.warnings == []


def test_mp3_with_junk_around_it_and_of_variable_rate(tmp_path):
    rng = np.random.default_rng(0)
    junk = rng.integers(0, 128, 40_000, dtype=np.uint8).tobytes()
    noise = "anoisesrc=d=1:r=16000:a=0.5"
    ffmpeg(*sources(TONE, noise), "-filter_complex", "[0][1]concat=n=2:v=0:a=1", "-q:a", "2", "-write_xing", "0",
           tmp_path / "vbr.mp3")
    whole = (tmp_path / "vbr.mp3").read_bytes()
    for name, data in {"vbr": whole, "after": whole + junk, "before": junk + whole,
                       "zeros": bytes(9000) + whole, "tag": whole + b"TAG" + bytes(125),
                       "id3": b"ID3\x04\0\0\0\0\x07\x76" + bytes(1014) + whole}.items():
        path = tmp_path / f"{name}.mp3"
        path.write_bytes(data)
        source = AudioSource(path)
        assert len(np.concatenate(list(source))) / SAMPLE_RATE == pytest.approx(4, abs=0.3) and not source.warnings
        assert isinstance(next(decode([AudioRef.file(path)], 60)), Waveform)


def test_parts_of_a_variable_rate_mp3_are_where_they_should_be(tmp_path):
    """Without a header, a place in the file says nothing about the time."""
    ffmpeg(*sources(QUIET_THEN_TONE), "-q:a", "4", "-write_xing", "0", tmp_path / "vbr.mp3")
    whole = load_audio(tmp_path / "vbr.mp3").samples
    part = load_audio(tmp_path / "vbr.mp3", start=5.0, end=7.0).samples
    onset = np.flatnonzero(np.abs(whole) > 0.02)[0] / SAMPLE_RATE
    assert np.flatnonzero(np.abs(part) > 0.02)[0] / SAMPLE_RATE == pytest.approx(onset - 5, abs=0.03)


QUIET_THEN_TONE = "sine=frequency=440:sample_rate=16000:duration=3,adelay=6000"


def test_aiff_and_au_from_a_pipe(tmp_path):
    for kind in ("aiff", "au"):
        ffmpeg(*sources(TONE), tmp_path / f"plain.{kind}")
        data = bytearray((tmp_path / f"plain.{kind}").read_bytes())
        at = slice(8, 12) if kind == "au" else slice(4, 8)
        data[at] = b"\xff\xff\xff\xff" if kind == "au" else b"\x7f\x00\x00\x00"
        (tmp_path / f"piped.{kind}").write_bytes(data)
        assert both_ways(tmp_path / f"piped.{kind}").duration == pytest.approx(3, abs=0.01)


def test_matroska_without_a_length(tmp_path):
    """As a browser's recorder writes it."""
    done = subprocess.run([ffmpeg_executable(), "-v", "error", *sources(TONE), "-c:a", "libopus", "-f", "webm", "-live",
                           "1", "pipe:"], capture_output=True, check=True)
    (tmp_path / "recorder.webm").write_bytes(done.stdout)
    assert both_ways(tmp_path / "recorder.webm").duration == pytest.approx(3, abs=0.1)
