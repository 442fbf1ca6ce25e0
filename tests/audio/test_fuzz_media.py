"""300 damaged media files: none ends in anything but samples or a UserError, leaves a file, or takes long."""

from __future__ import annotations

import random
import time

import numpy as np
import pytest
from media_files import PICTURE, TONE, ffmpeg, sources

from feature_pipeline.decode import decode
from feature_pipeline.rows import AudioRef
from shared.audio import SAMPLE_RATE, AudioSource, Waveform
from shared.errors import UserError

KINDS = {
    "wav": [], "mp3": [], "flac": [], "ogg": ["-c:a", "libvorbis"], "webm": ["-c:a", "libopus"], "m4a": [], "mkv": [],
    "mov": ["-movflags", "+faststart"], "ts": [], "avi": [], "aiff": [], "caf": [], "wma": [], "aac": [],
    "flv": ["-ar", "44100", "-c:a", "aac"],
}
PER_KIND = 20
MAX_SECONDS = 60.0  # of work for one file; nearly all take less than one
LONGEST = 600.0  # seconds of sound wanted of any file


def mutated(data: bytes, chance: random.Random) -> bytes:
    """One to four of: bits, a length field, a cut, a repeat, zeros, a piece moved. Headers get most of it."""
    out = bytearray(data)
    for _ in range(chance.choice([1, 1, 2, 4])):
        at = chance.randrange(min(len(out), 600) if chance.random() < 0.5 else len(out))
        kind = chance.randrange(6)
        if kind == 0:
            for _ in range(chance.randint(1, 8)):
                out[min(at + chance.randrange(16), len(out) - 1)] ^= 1 << chance.randrange(8)
        elif kind == 1:
            out[at : at + 4] = chance.choice([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", bytes(4), b"\0\0\0\x01"])
        elif kind == 2:
            del out[max(at, 16) :]
        elif kind == 3:
            out[at:at] = out[at : at + chance.randint(1, 2000)]
        elif kind == 4:
            out[at : at + chance.randint(1, 500)] = bytes(chance.randint(0, 500))
        else:
            piece = out[at : at + 300]
            del out[at : at + 300]
            where = chance.randrange(len(out) + 1)
            out[where:where] = piece
        out = out or bytearray(1)
    return bytes(out)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_give_samples_or_a_reason(tmp_path, kind):
    whole, folder = tmp_path / f"whole.{kind}", tmp_path / "damaged"
    picture = sources(PICTURE.format(3)) if kind in ("mkv", "ts", "avi", "mov") else []
    ffmpeg(*picture, *sources(TONE), *KINDS[kind], whole)
    folder.mkdir()
    before = {path for path in tmp_path.rglob("*") if path != folder}
    outcomes = []
    for seed in range(PER_KIND):
        path = folder / f"{seed}.{kind}"
        path.write_bytes(mutated(whole.read_bytes(), random.Random(f"{kind}{seed}")))
        begun = time.monotonic()
        outcomes.append(_outcome(path))
        assert time.monotonic() - begun < MAX_SECONDS, seed
    results = list(decode([AudioRef.file(path) for path in sorted(folder.iterdir())], 5))
    assert len(results) == PER_KIND and all(isinstance(one, Waveform | UserError) for one in results)
    assert {path for path in tmp_path.rglob("*") if path.parent != folder and path != folder} == before
    assert "samples" in outcomes  # the mutations leave something to decode


def _outcome(path) -> str:
    try:
        source = AudioSource(path, max_seconds=LONGEST)
        for block in source:
            assert block.dtype == np.float32 and block.ndim == 1 and np.isfinite(block).all()
            assert np.abs(block).max(initial=0.0) <= 1 and source.duration <= LONGEST + SAMPLE_RATE
    except UserError as error:
        assert "What to do:" in str(error) and "Traceback" not in str(error)
        return "reason"
    return "samples"
