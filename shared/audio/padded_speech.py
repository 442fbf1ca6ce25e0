"""Spans of speech with the sound they need on either side, from a stream.

Enters: blocks of 16 kHz mono samples. Leaves: `Speech`, each span with its samples. Only audio that may still belong
to a span is kept. Knows nothing of windows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from shared.audio.vad import FRAME, Span, SpeechDetector, SpeechSpans
from shared.audio.waveform import SAMPLE_RATE


class Speech(NamedTuple):
    """span: without padding. start: sample in the audio at which `samples` (float32, with padding) begin."""

    span: Span
    start: int
    samples: np.ndarray


class Padding(NamedTuple):
    """Samples. around: at most so many on either side of speech, never another span's. over_cut: of the other side,
    where unbroken speech was cut."""

    around: int
    over_cut: int


def padded_speech(blocks: Iterable[np.ndarray], onset: float, max_seconds: float, padding: Padding) -> Iterator[Speech]:
    """Yield each span of speech with its padding, as soon as it is known how far the padding may reach.

    Args:
        blocks: float32 (n_samples,) each, of any size.
        onset: probability, 0 … 1, from which sound counts as speech.
        max_seconds: unbroken speech is cut where it is longer.
        padding: what each span gets.
    """
    detector = SpeechDetector()
    spans = SpeechSpans(onset, max_frames=int(max_seconds * SAMPLE_RATE) // FRAME)
    padder = _Padder(padding)
    for frames in _whole_frames(blocks):
        padder.audio.append(frames)
        for probability in detector.probabilities(frames):
            spans.push(float(probability))
        yield from padder.put(spans.take())
        yield from padder.settle(spans.open_from)
    spans.finish()
    yield from padder.put(spans.take())
    yield from padder.finish()


class _Padder:
    """Gives spans their padding. The last one waits until it is known how far its padding may reach."""

    def __init__(self, padding: Padding) -> None:
        self.audio = _Recent()
        self._padding = padding
        self._waiting: Span | None = None
        self._given = 0  # sample up to which the audio was given

    def put(self, spans: Iterable[Span]) -> Iterator[Speech]:
        """Spans that follow. Each ends the waiting of the one before."""
        for span in spans:
            if self._waiting is not None:
                yield self._padded(self._waiting, span.start)
            self._waiting = span

    def settle(self, open_from: int) -> Iterator[Speech]:
        """Give the waiting span if nothing that comes can change it, and forget what nothing needs any more.

        open_from: sample before which nothing can become speech any more.
        """
        span = self._waiting
        if span is not None and (self.audio.end >= span.end + self._padding.over_cut if span.cut_after
                                 else open_from >= span.end + self._padding.around):
            yield self._padded(span, self.audio.end)
            self._waiting = None
        needed = min(open_from, self._waiting.start if self._waiting else self.audio.end)
        self.audio.forget(needed - max(self._padding))

    def finish(self) -> Iterator[Speech]:
        """The audio is over."""
        if self._waiting is not None:
            yield self._padded(self._waiting, self.audio.end)

    def _padded(self, span: Span, reach: int) -> Speech:
        """reach: sample up to which the padding may go."""
        around, over_cut = self._padding
        start = span.start - over_cut if span.cut_before else max(span.start - around, self._given)
        end = min(span.end + over_cut, self.audio.end) if span.cut_after else min(span.end + around, reach)
        self._given = span.end if span.cut_after else end
        return Speech(span, start, self.audio.cut(start, end))


def _whole_frames(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """The same samples, each block but the last a multiple of FRAME long."""
    rest = np.zeros(0, dtype=np.float32)
    for block in blocks:
        block = np.concatenate([rest, np.asarray(block, dtype=np.float32)])
        whole = len(block) // FRAME * FRAME
        rest = block[whole:]
        if whole:
            yield block[:whole]
    if len(rest):
        yield rest


class _Recent:
    """The last stretch of the audio: what a span that is still open or waiting may need."""

    def __init__(self) -> None:
        self._samples = np.zeros(0, dtype=np.float32)
        self._first = 0

    @property
    def end(self) -> int:
        return self._first + len(self._samples)

    def append(self, block: np.ndarray) -> None:
        self._samples = np.concatenate([self._samples, block])

    def cut(self, start: int, end: int) -> np.ndarray:
        return self._samples[start - self._first : end - self._first].copy()

    def forget(self, before: int) -> None:
        n_samples = max(0, before - self._first)
        self._samples = self._samples[n_samples:]
        self._first += n_samples
