"""WAV of 16 bits, 16 kHz and one channel, read without a process: what most programs send that speak to a recogniser.

Enters: a path. Leaves: where its samples lie, and the samples, bit by bit those that ffmpeg gives. Whatever is not
exactly that is left to ffmpeg: here nothing is refused and nothing explained.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shared.audio.waveform import SAMPLE_RATE

MAX_CHUNKS = 64  # looked at: a real file has some ten at most
SAMPLE_BYTES = 2
_FORMAT = (1, 1, SAMPLE_RATE, SAMPLE_BYTES * SAMPLE_RATE, SAMPLE_BYTES, 8 * SAMPLE_BYTES)  # integers, one channel, …


@dataclass(frozen=True)
class PlainWav:
    """Where the samples lie: bytes from the start of the file, and how many samples."""

    offset: int
    n_samples: int

    @property
    def duration(self) -> float:
        """Seconds, to a hundredth as ffmpeg prints them."""
        return (self.n_samples * 1_000_000 // SAMPLE_RATE + 5000) // 10_000 / 100


def plain_wav(path: Path) -> PlainWav | None:
    """Where the samples of such a file lie; None for any other, or where its sizes do not agree. Raises OSError."""
    size = path.stat().st_size
    found: PlainWav | None = None
    is_known = False
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] != b"RIFF" or head[8:] != b"WAVE":
            return None
        position = len(head)
        for _ in range(MAX_CHUNKS):
            if position >= size:
                return found
            file.seek(position)
            header = file.read(8)
            name, length = header[:4], int.from_bytes(header[4:], "little")
            start = position + 8
            if len(header) < 8 or start + length > size or not all(32 <= byte < 127 for byte in name):
                return None
            if name == b"fmt ":
                fields = file.read(16)
                if is_known or len(fields) < 16 or struct.unpack("<HHIIHH", fields) != _FORMAT:
                    return None
                is_known = True
            elif name == b"data":
                if not is_known or found is not None or not length or length % SAMPLE_BYTES:
                    return None  # which of two is meant is for ffmpeg to say
                found = PlainWav(start, length // SAMPLE_BYTES)
            position = start + length + length % 2
    return None


def blocks_of(plain: PlainWav, path: Path, start: float, limit: float | None, n_block: int) -> Iterator[np.ndarray]:
    """float32 (n_block,) in [-1, 1], the last one shorter. start, limit: seconds; limit None: to the end."""
    first = min(round(start * SAMPLE_RATE), plain.n_samples)
    left = plain.n_samples - first
    if limit is not None:
        left = min(left, max(1, round(limit * SAMPLE_RATE)))
    with path.open("rb") as file:
        file.seek(plain.offset + first * SAMPLE_BYTES)
        while left > 0 and (raw := file.read(min(left, n_block) * SAMPLE_BYTES)):
            samples = np.frombuffer(raw[: len(raw) // SAMPLE_BYTES * SAMPLE_BYTES], dtype="<i2")
            left -= len(samples)
            yield samples.astype(np.float32) / np.float32(32768)
