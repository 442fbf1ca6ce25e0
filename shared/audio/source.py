"""What `transcribe` reads, whatever it was given: blocks of samples, counted.

Enters: a path, a `MediaInfo`, samples or an iterator of blocks. Leaves: blocks, how long they were, and what was wrong.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Sized
from typing import Any

import numpy as np

from shared.audio.decoding import chosen_track, opened, stream_audio
from shared.audio.media import MediaInfo, Track, probe
from shared.audio.mixing import MAX_LEVEL
from shared.audio.waveform import SAMPLE_RATE, Waveform
from shared.errors import TruncatedAudio, UserError
from shared.whisper_constants import WINDOW_SAMPLES, WINDOW_SECONDS

Source = str | os.PathLike | MediaInfo | Waveform | np.ndarray | Iterable[np.ndarray]
BLOCK = WINDOW_SAMPLES
SHORT_BYTES = 20 << 20  # what a header says about its length need not be true; 30 s of any usual sound are less


class AudioSource:
    """The blocks of a source, counted: how long it was, how much is left, what was wrong with it.

    Args:
        source: path of a media file or its `MediaInfo`; a Waveform, a NumPy array or a torch tensor of float samples
            (n_samples,) at 16 kHz in [-1, 1]; or an iterable of such arrays.
        cancel: set from another thread, ends ffmpeg at once and raises Cancelled.
        start, end: seconds of the part wanted, of a file.
        track: which audio track of a file, from 1; None takes the default one that can be decoded and has sound.
        max_seconds, max_bytes: limits for that part, in seconds, and for the file.

    Raises:
        UserError: the file cannot be read, or the samples are not what they should be.
    """

    def __init__(self, source: Source, cancel: threading.Event | None = None, *, start: float = 0.0,
                 end: float | None = None, track: int | None = None, max_seconds: float | None = None,
                 max_bytes: int | None = None) -> None:
        self.warnings: list[str] = []
        self._n_samples = 0
        self.length: float | None = None  # seconds, where the source says
        self.info: MediaInfo | None = None  # of a file
        self.track: Track | None = None  # which one of the file is read
        self._blocks: Iterator[np.ndarray]
        if isinstance(source, str | os.PathLike | MediaInfo):
            self.info = opened(source, max_bytes)
            self.track, note = chosen_track(self.info, track, cancel)
            self.warnings += [*self.info.warnings, *([note] if note else [])]
            if self.info.duration is not None:
                self.length = max(0.0, min(self.info.duration, end or self.info.duration) - start)
            self._blocks = stream_audio(self.info, start=start, end=end, track=self.track.number,
                                        max_seconds=max_seconds, cancel=cancel)
        elif isinstance(source, Waveform | np.ndarray) or hasattr(source, "detach"):
            samples = checked_samples(source.samples if isinstance(source, Waveform) else source)
            self.length = len(samples) / SAMPLE_RATE
            self._blocks = (samples[i : i + BLOCK] for i in range(0, len(samples), BLOCK))
        elif isinstance(source, Iterable) and not isinstance(source, bytes | dict | set):
            self._blocks = map(checked_samples, source)
        else:
            raise UserError("This is not something that can be transcribed", got=type(source).__name__,
                            hint="give a path, a Waveform, an array of samples, or an iterable of arrays")

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
        """Seconds read so far."""
        return self._n_samples / SAMPLE_RATE

    def total(self, done: int, reached: float) -> int | None:
        """How many windows there will be.

        Args:
            done: windows so far.
            reached: seconds of the source up to which they go.

        Returns:
            The number: exact once all is read, before that by the rate so far; None where it cannot be told.
        """
        if self.length is None:
            return None
        left = max(self.length - reached, 0.0)
        return done if left < 0.5 else done + max(1, round(left * done / max(reached, 1.0)))


def is_short(source: Source) -> bool:
    """Whether a recording fits into one window of the model; of a file by its header, nothing is decoded.

    Args:
        source: as `AudioSource` takes it.

    Returns:
        True for at most 30 s; False also where the length is not known, and for what cannot be read, which the work
        itself then tells.
    """
    if isinstance(source, Waveform):
        return source.duration <= WINDOW_SECONDS
    if isinstance(source, np.ndarray) or (hasattr(source, "detach") and isinstance(source, Sized)):
        return len(source) <= WINDOW_SAMPLES
    if isinstance(source, str | os.PathLike):
        try:
            source = probe(source, max_bytes=SHORT_BYTES)
        except (UserError, OSError):
            return False
    return isinstance(source, MediaInfo) and source.duration is not None and source.duration <= WINDOW_SECONDS


def with_header(source: Source) -> Source:
    """A file's header in place of its path, for a caller that reads the file more than once.

    Args:
        source: as `AudioSource` takes it.

    Returns:
        The `MediaInfo` of a path; any other source as it is.

    Raises:
        UserError: the header cannot be read.
    """
    return opened(source) if isinstance(source, str | os.PathLike) else source


def checked_samples(samples: Any) -> np.ndarray:
    """float32 (n_samples,) from an array or tensor of floating-point samples at 16 kHz.

    Raises:
        UserError: another type or shape, values that are not finite, or far beyond [-1, 1].
    """
    if hasattr(samples, "detach"):  # a torch tensor, recognised without importing torch
        samples = samples.detach().cpu()
        samples = samples.float().numpy() if samples.is_floating_point() else samples.numpy()
    hint = "give float samples of shape (n_samples,) at 16 kHz in [-1, 1]"
    if not isinstance(samples, np.ndarray):
        raise UserError("The samples are not an array", got=type(samples).__name__, hint=hint)
    if not np.issubdtype(samples.dtype, np.floating):
        whole = np.issubdtype(samples.dtype, np.integer)
        raise UserError("The samples are not floating-point numbers", got=str(samples.dtype), limit="float32",
                        hint=f"divide by {np.iinfo(samples.dtype).max + 1}, the largest value" if whole else hint)
    if samples.ndim != 1:
        raise UserError("The samples are not one channel", got=f"shape {samples.shape}", limit="(n_samples,)",
                        hint="take one channel, or the mean of the channels")
    samples = samples.astype(np.float32, copy=False)
    level = float(np.abs(samples).max(initial=0.0))
    if not np.isfinite(level):
        raise UserError("The samples hold values that are not numbers (NaN) or infinite",
                        got=f"{np.count_nonzero(~np.isfinite(samples))} of {len(samples)}", hint=hint)
    if level > MAX_LEVEL:
        raise UserError("The samples are too loud to be in [-1, 1]", got=f"up to {level:g}", limit="1",
                        hint="divide 16-bit samples by 32768")
    return samples
