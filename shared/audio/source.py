"""What `transcribe` listens to, whatever it was given: blocks of samples, counted.

Enters: a path, a Waveform or an iterator of blocks. Leaves: blocks, how long they were, and what was wrong.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator

import numpy as np

from shared.audio.decoding import probe, stream_audio
from shared.audio.waveform import SAMPLE_RATE, Waveform
from shared.errors import TruncatedAudio

Source = str | os.PathLike | Waveform | Iterable[np.ndarray]


class AudioSource:
    """The blocks of a source, counted: how long it was, how much is left, what was wrong with it."""

    def __init__(self, source: Source, cancel: threading.Event | None = None, *, start: float = 0.0,
                 end: float | None = None, max_seconds: float | None = None, max_bytes: int | None = None) -> None:
        self.warnings: list[str] = []
        self._n_samples = 0
        self.length: float | None = None  # seconds, where the source says
        if isinstance(source, Waveform):
            self.length = source.duration
            block = 30 * SAMPLE_RATE
            self._blocks = (source.samples[i : i + block] for i in range(0, len(source.samples), block))
        elif isinstance(source, str | os.PathLike):
            length = probe(source).duration
            self.length = length and min(length, end or length) - start
            self._blocks = stream_audio(source, start=start, end=end, max_seconds=max_seconds, max_bytes=max_bytes,
                                        cancel=cancel)
        else:
            self._blocks = iter(source)

    def __iter__(self) -> Iterator[np.ndarray]:
        try:
            for block in self._blocks:
                self._n_samples += len(block)
                yield block
        except TruncatedAudio as error:
            if not self._n_samples:
                raise
            self.warnings.append(str(error))

    @property
    def duration(self) -> float:
        """Seconds heard so far."""
        return self._n_samples / SAMPLE_RATE

    def total(self, done: int, reached: float) -> int | None:
        """How many windows there will be: exact once all is heard, before that by the rate so far."""
        if self.length is None:
            return None
        left = max(self.length - reached, 0.0)
        return done if left < 0.5 else done + max(1, round(left * done / max(reached, 1.0)))
