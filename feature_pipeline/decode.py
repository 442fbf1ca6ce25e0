"""Many short clips decoded by one ffmpeg process, to exactly the samples that `shared.audio.load_audio` gives.

Starting ffmpeg twice for each clip costs more than decoding five seconds of it. Plain 16 kHz WAV is read without
ffmpeg. What these ways cannot answer for (damage, several tracks, an odd file) is left to `load_audio`, which also
words the reason.
"""

from __future__ import annotations

import tempfile
import wave
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from feature_pipeline.rows import AudioRef
from shared.audio import SAMPLE_RATE, Waveform, load_audio
from shared.audio.batch import Part, load_parts
from shared.errors import UserError

BATCH = 32  # clips for one ffmpeg: beyond it the start no longer counts


def decode(refs: Sequence[AudioRef], max_seconds: float) -> Iterator[Waveform | UserError]:
    """One result for each reference, in order: the waveform, or why there is none.

    No more than `max_seconds` and one are decoded of any, so a longer clip shows as longer than `max_seconds`.
    Raises OSError when the disk is full.
    """
    with tempfile.TemporaryDirectory(prefix="decode-") as folder:
        for first in range(0, len(refs), BATCH):
            yield from _decode_batch(refs[first : first + BATCH], max_seconds + 1, Path(folder))


def _decode_batch(refs: Sequence[AudioRef], limit: float, folder: Path) -> Iterator[Waveform | UserError]:
    paths = [_on_disk(ref, folder / f"{n}{Path(ref.name).suffix}") for n, ref in enumerate(refs)]
    there = {n: (path, refs[n]) for n, path in enumerate(paths)
             if isinstance(path, Path) and path.is_file() and path.stat().st_size}
    good = {n: samples for n, (path, ref) in there.items() if (samples := _plain_wav(path, ref, limit)) is not None}
    rest = {n: _part(path, ref, limit) for n, (path, ref) in there.items() if n not in good}
    found = load_parts(list(rest.values()), folder)
    good |= {n: waveform for n, waveform in zip(rest, found, strict=True) if waveform is not None}
    for n, (path, ref) in enumerate(zip(paths, refs, strict=True)):
        if isinstance(path, UserError):
            yield path
        else:
            yield good.pop(n) if n in good else _singly(_part(path, ref, limit))


def _part(path: Path, ref: AudioRef, limit: float) -> Part:
    return Part(path, ref.start, ref.start + limit if ref.end is None else min(ref.end, ref.start + limit))


def _plain_wav(path: Path, ref: AudioRef, limit: float) -> Waveform | None:
    """A whole 16-bit mono WAV at 16 kHz, as many corpora are published: its samples are there to be read.

    None for anything else, and for a file shorter or longer than its header says.
    """
    if path.suffix.lower() != ".wav" or ref.is_part:
        return None
    try:
        with wave.open(str(path), "rb") as file:
            if (file.getnchannels(), file.getsampwidth(), file.getframerate()) != (1, 2, SAMPLE_RATE):
                return None
            n_frames = file.getnframes()
            n_samples = min(n_frames, int(limit * SAMPLE_RATE))
            samples = np.frombuffer(file.readframes(n_samples), dtype="<i2")
    except Exception:  # damaged headers make this module fail in many ways (RuntimeError is one): ffmpeg answers then
        return None
    if len(samples) != n_samples or n_samples == 0 or path.stat().st_size > 2 * n_frames + _HEADER_BYTES:
        return None
    return Waveform(samples.astype(np.float32) / 32768)


_HEADER_BYTES = 4096  # of a WAV file with some tags; a longer one is looked at by ffmpeg


def _singly(part: Part) -> Waveform | UserError:
    try:
        return load_audio(part.path, start=part.start, end=part.end)
    except UserError as error:
        return error


def _on_disk(ref: AudioRef, spill: Path) -> Path | UserError:
    if ref.path is not None and ref.member is None:
        return ref.path
    try:
        data = ref.read()
    except UserError as error:
        return error
    spill.write_bytes(data)
    return spill
