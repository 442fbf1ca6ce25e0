"""The sound of a live recording: numbered pieces in, samples at 16 kHz out, and a WAV file of all of it."""

from __future__ import annotations

import contextlib
import secrets
import wave

import numpy as np

from shared.audio import SAMPLE_RATE
from shared.audio.resampling import Resampler
from shared.ui import UPLOADS


class LiveSound:
    """For one thread at a time.

    path: the WAV file, whole once `is_whole`. limit: seconds, where the recording is ended.
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.is_whole = self.is_full = False
        self.path = UPLOADS / secrets.token_urlsafe(16) / "live.wav"
        self.path.parent.mkdir(parents=True)
        self._file = wave.open(str(self.path), "wb")  # noqa: SIM115  it grows until the last piece
        self._file.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
        self._resampler: Resampler | None = None
        self._next = self._n_samples = 0
        self.is_kept = False  # by somebody else, who deletes it

    @property
    def seconds(self) -> float:
        return self._n_samples / SAMPLE_RATE

    def add(self, number: int, rate: int, sound: bytes, last: bool) -> np.ndarray | None:
        """The samples of a piece (s16le mono at `rate` Hz), float32 at 16 kHz; None for one that is not due."""
        if number != self._next or self.is_whole:
            return None
        self._next += 1
        if self._resampler is None:
            self._resampler = Resampler(rate, SAMPLE_RATE)
        samples = self._resampler.push(np.frombuffer(sound, dtype="<i2").astype(np.float32) / 32768)
        if last:
            samples = np.concatenate([samples, self._resampler.finish()])
        room = int(self.limit * SAMPLE_RATE) - self._n_samples
        samples = samples[:room]
        self._n_samples += len(samples)
        self.is_full = len(samples) == room
        self._file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
        if last or self.is_full:
            self._file.close()
            self.is_whole = True
        return samples

    def close(self) -> None:
        """Delete the file."""
        self.is_whole = True
        self._file.close()
        if self.is_kept:
            return
        self.path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # gone already, or something else lies in it
            self.path.parent.rmdir()
