"""WAV that is read without ffmpeg: the same header, samples and messages as with it, and no other file is taken."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shared.audio import SAMPLE_RATE, load_audio, probe, stream_audio
from shared.audio.media import Structure, _parsed, probe_command
from shared.audio.plain_wav import plain_wav
from shared.errors import TruncatedAudio, UserError
from shared.system import processes

DRAW = np.random.default_rng(7)
FORMAT = (1, 1, 16_000, 32_000, 2, 16)


def chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)


def wav(samples: np.ndarray, fields: tuple[int, ...] = FORMAT, before: bytes = b"", after: bytes = b"") -> bytes:
    inside = b"WAVE" + chunk(b"fmt ", struct.pack("<HHIIHH", *fields)) + before + chunk(
        b"data", samples.astype("<i2").tobytes()) + after
    return b"RIFF" + struct.pack("<I", len(inside)) + inside


def drawn(n_samples: int) -> np.ndarray:
    return DRAW.integers(-32768, 32768, n_samples)


def with_ffmpeg(path: Path):
    """The header as ffmpeg prints it."""
    done = processes.run(probe_command([path]), processes.Limits(seconds=60))
    return _parsed(done.messages, path, Structure())


@pytest.mark.parametrize("n_samples", [2, 100, 15_999, 16_080, 123_457])
def test_header_and_samples_are_those_of_ffmpeg(tmp_path, n_samples):
    path = tmp_path / "one.wav"
    title, odd = chunk(b"LIST", b"INFOINAM\4\0\0\0a\0\0\0"), chunk(b"odd ", b"x")
    path.write_bytes(wav(drawn(n_samples), before=title, after=odd))
    here, there = probe(path), with_ffmpeg(path)
    assert here.plain is not None and replace(here, plain=None) == there
    seconds = n_samples / SAMPLE_RATE
    for start, end in ((0.0, None), (0.0, seconds / 2), (seconds / 3, None), (0.1, 0.25), (0.123456, 0.3333),
                       (1.00003, 2.00009), (0.00005, None), (max(seconds - 0.01, 0.0), None)):
        if start < here.duration:
            ours, theirs = (np.concatenate(list(stream_audio(info, start=start, end=end, block_seconds=1.5)))
                            for info in (here, there))
            assert np.array_equal(ours, theirs)


def test_any_other_file_is_left_to_ffmpeg(tmp_path):
    samples, path = drawn(1600), tmp_path / "other.wav"
    whole = wav(samples)
    others = {
        "8 kHz": wav(samples, (1, 1, 8000, 16_000, 2, 16)), "stereo": wav(samples, (1, 2, 16_000, 64_000, 4, 16)),
        "floats": wav(samples, (3, 1, 16_000, 64_000, 4, 32)), "A-law": wav(samples, (6, 1, 16_000, 16_000, 1, 8)),
        "big-endian": b"RIFX" + whole[4:], "cut off": whole[:-400], "no length": whole[:40] + b"\xff" * 4 + whole[44:],
        "goes on": whole + bytes(3200), "two": wav(samples, after=chunk(b"data", samples.astype("<i2").tobytes())),
        "odd": whole[:40] + struct.pack("<I", 3199) + whole[44:], "no data": whole[:36], "empty": wav(samples[:0]),
    }
    for what, data in others.items():
        path.write_bytes(data)
        assert plain_wav(path) is None, what
    for what in ("stereo", "goes on", "two"):
        path.write_bytes(others[what])
        assert len(load_audio(path).samples) >= 800, what


def test_a_file_that_shrinks_and_parts_beyond_the_end_say_so(tmp_path):
    path = tmp_path / "one.wav"
    path.write_bytes(wav(drawn(4 * SAMPLE_RATE)))
    with pytest.raises(UserError, match="behind the end"):
        load_audio(path, start=5.0)
    with pytest.raises(UserError, match="too long"):
        load_audio(path, max_seconds=3.0)
    info = probe(path)
    path.write_bytes(path.read_bytes()[: 2 * SAMPLE_RATE])
    with pytest.raises(TruncatedAudio, match="cut off"):
        load_audio(info)
    assert load_audio(wav(samples := drawn(320))).samples.tolist() == (samples / 32768).astype(np.float32).tolist()
