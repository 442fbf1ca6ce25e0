"""Where somebody speaks, and how that speech is packed into windows the model can read.

Enters: blocks of 16 kHz mono samples. Leaves: `Window`s of at most 30 s that hold speech, each knowing where
its samples came from. Works on a stream: only audio that may still belong to an open window is kept, so hours
cost no more memory than minutes. This module knows nothing of text or Whisper.

The detector is Silero VAD v6 (MIT, https://github.com/snakers4/silero-vad), whose weights ship in its wheel.
Its network sees 32 ms at a time and carries an LSTM state; here the convolutions of a whole block run as one
batch and the LSTM as one sequence, which gives the same numbers many times faster than a call per frame.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from shared.audio.decoding import SAMPLE_RATE
from shared.errors import UserError

FRAME = 512  # samples Silero judges at a time: 32 ms
CONTEXT = 64  # samples of the frame before, which it sees as well
WINDOW_SECONDS = 30.0  # Whisper's full context

# Silero's own defaults are onset 0.5 and offset = onset - 0.15 with 30 ms of padding. Whisper wants to hear the
# onset of the first sound and the end of the last, hence the wider padding; the silence that ends a span is longer
# than a plosive's closure (about 0.1 s) and shorter than a pause between sentences.
OFFSET_BELOW_ONSET = 0.15
MIN_SPEECH = 0.1
MIN_SILENCE = 0.3
PADDING = 0.25
# Speech unbroken for a whole window is cut; both sides hear so much beyond the cut, and each keeps its own words.
# No longer than the shortest span and the silence after it, so that windows do not depend on how audio arrives.
OVERLAP = 0.4


@dataclass(frozen=True)
class Span:
    """Speech from sample `start` up to sample `end` of the whole audio. cut_before, cut_after: it goes on there."""

    start: int
    end: int
    cut_before: bool = False
    cut_after: bool = False


@dataclass(frozen=True, eq=False)
class Window:
    """Up to 30 s of speech cut from the audio.

    samples: float32 (n_samples,). pieces: (offset in the window, sample in the audio, n_samples), in order and
    without overlap; silence between two pieces was left out. since, until: seconds of the audio; what is said before or
    after belongs to the window beside, where unbroken speech had to be cut.
    """

    samples: np.ndarray
    pieces: tuple[tuple[int, int, int], ...]
    since: float | None = None
    until: float | None = None

    @property
    def duration(self) -> float:
        return len(self.samples) / SAMPLE_RATE

    @property
    def start(self) -> float:
        """Seconds from the start of the audio."""
        return self.pieces[0][1] / SAMPLE_RATE

    @property
    def end(self) -> float:
        _, start, n_samples = self.pieces[-1]
        return (start + n_samples) / SAMPLE_RATE

    def in_audio(self, seconds: float, *, is_end: bool = False) -> float:
        """A time within the window as a time in the audio.

        At a seam the end of what came before and the start of what follows are different moments: `is_end`
        says which one is meant.
        """
        sample = min(max(seconds * SAMPLE_RATE, 0), len(self.samples))
        for offset, start, n_samples in self.pieces:
            inside = sample - offset
            if inside < n_samples or (is_end and inside <= n_samples):
                return round((start + max(inside, 0)) / SAMPLE_RATE, 3)
        return self.end


class SpeechDetector:
    """Silero VAD over a stream; state is kept between calls. Not for use by two threads at once."""

    def __init__(self) -> None:
        self._weights = _silero_weights()
        self._lstm = _silero_lstm()
        self._state: tuple[torch.Tensor, torch.Tensor] | None = None
        self._context = np.zeros(CONTEXT, dtype=np.float32)

    @torch.inference_mode()
    def probabilities(self, samples: np.ndarray) -> np.ndarray:
        """Probability of speech of each 32 ms frame: (n_samples,) → (ceil(n_samples / 512),).

        Feed multiples of 512 samples except at the end of the audio, where the last frame is filled with zeros.
        """
        if len(samples) == 0:
            return np.zeros(0, dtype=np.float32)
        n_frames = -(-len(samples) // FRAME)
        padded = np.zeros(CONTEXT + n_frames * FRAME, dtype=np.float32)
        padded[:CONTEXT] = self._context
        padded[CONTEXT : CONTEXT + len(samples)] = samples
        self._context = padded[-CONTEXT:].copy()
        frames = torch.from_numpy(np.lib.stride_tricks.sliding_window_view(padded, CONTEXT + FRAME)[::FRAME].copy())
        hidden, self._state = self._lstm(self._encode(frames), self._state)
        weights = self._weights
        logits = hidden.relu() @ weights["decoder.decoder.2.weight"][0, :, 0] + weights["decoder.decoder.2.bias"]
        return logits.sigmoid().numpy()

    def _encode(self, frames: torch.Tensor) -> torch.Tensor:
        """(n_frames, 576) → (n_frames, 128)."""
        weights = self._weights
        x = functional.pad(frames, (0, CONTEXT), mode="reflect")[:, None]
        x = functional.conv1d(x, weights["stft.forward_basis_buffer"], stride=128)  # (n_frames, 258, 4)
        x = (x[:, :129].square() + x[:, 129:].square()).sqrt()
        for layer, stride in enumerate((1, 2, 2, 1)):
            name = f"encoder.{layer}.reparam_conv"
            x = functional.conv1d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], stride, padding=1).relu()
        return x[:, :, 0]


@functools.cache
def _silero_weights() -> dict[str, torch.Tensor]:
    # The wheel's safetensors file holds an older network: the TorchScript one is what `load_silero_vad` serves.
    # Found without importing silero_vad, whose import sets torch to one thread for the whole process.
    spec = importlib.util.find_spec("silero_vad")
    if spec is None or not spec.submodule_search_locations:
        raise UserError("The speech detector is not installed", got="no package silero_vad",
                        todo="pip install -r requirements.txt")
    path = Path(spec.submodule_search_locations[0]) / "data" / "silero_vad.jit"
    return dict(torch.jit.load(path, map_location="cpu")._model.state_dict())


@functools.cache
def _silero_lstm() -> torch.nn.LSTM:
    lstm = torch.nn.LSTM(128, 128)
    lstm.load_state_dict({f"{name}_l0": _silero_weights()[f"decoder.rnn.{name}"]
                          for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")})
    return lstm.eval()


@dataclass
class _Speech:
    """Turns frame probabilities into spans, one frame after the other."""

    onset: float
    max_frames: int
    spans: list[Span] = field(default_factory=list)
    _frame: int = 0
    _start: int | None = None  # frame at which the open span began
    _last: int = 0  # frame after the last one that was speech
    _was_cut: bool = False  # the open span goes on from one that was cut
    _open: list[float] = field(default_factory=list)  # probabilities since `_start`

    def push(self, probability: float) -> None:
        if self._start is None and probability >= self.onset:
            self._start, self._open = self._frame, []
        if self._start is not None:
            self._open.append(probability)
            if probability >= self.onset - OFFSET_BELOW_ONSET:
                self._last = self._frame + 1
            elif (self._frame + 1 - self._last) * FRAME >= MIN_SILENCE * SAMPLE_RATE:
                self._close(self._last)
                self._start = None
            if self._start is not None and len(self._open) >= self.max_frames:
                self._cut()
        self._frame += 1

    def finish(self) -> None:
        if self._start is not None:
            self._close(self._last)
            self._start = None

    def take(self) -> list[Span]:
        """The spans closed since the last call."""
        spans, self.spans = self.spans, []
        return spans

    @property
    def open_from(self) -> int:
        """Sample before which nothing can become speech any more."""
        return (self._frame if self._start is None else self._start) * FRAME

    def _close(self, end: int) -> None:
        if (end - self._start) * FRAME >= MIN_SPEECH * SAMPLE_RATE:
            self.spans.append(Span(self._start * FRAME, end * FRAME, cut_before=self._was_cut))
        self._was_cut = False

    def _cut(self) -> None:
        """Speech without a pause for a whole window: part it at the least speech-like moment of its second half."""
        half = self.max_frames // 2
        smooth = np.convolve(self._open[half:], np.ones(5) / 5, mode="same")
        at = half + 2 + int(np.argmin(smooth[2:-2]))
        cut = self._start + at
        self.spans.append(Span(self._start * FRAME, cut * FRAME, self._was_cut, cut_after=True))
        self._start, self._open, self._was_cut = cut, self._open[at:], True


def speech_spans(blocks: Iterable[np.ndarray], onset: float = 0.5, max_seconds: float = WINDOW_SECONDS) -> list[Span]:
    """All speech in the audio, unpadded. onset: probability in (0, 1) from which a frame counts as speech."""
    return [span for span, _, _ in _spoken(blocks, onset, max_seconds, pad=0, overlap=0)]


def windows(
    blocks: Iterable[np.ndarray], *, onset: float = 0.5, max_seconds: float = WINDOW_SECONDS, max_gap: float = 1e9,
) -> Iterator[Window]:
    """Pack the speech of a stream into windows of at most `max_seconds`.

    onset: lower finds more speech (0.1 … 0.9). max_gap: a pause longer than so many seconds starts a new window.
    A pause within a window is kept up to twice the padding, and shortened to that beyond.
    """
    if not 0.0 < onset < 1.0:
        raise UserError("The speech threshold is out of range", got=onset, limit="between 0 and 1", todo="try 0.5")
    limit, gap = max_seconds * SAMPLE_RATE, max_gap * SAMPLE_RATE
    pieces: list[tuple[Span, int, np.ndarray]] = []  # (speech, first sample in the audio, samples)
    n_samples = last = 0
    pad, overlap = int(PADDING * SAMPLE_RATE), int(OVERLAP * SAMPLE_RATE)
    for span, start, samples in _spoken(blocks, onset, max_seconds - 2 * OVERLAP, pad, overlap):
        if pieces and (n_samples + len(samples) > limit or start - last > gap or span.cut_before):
            yield _window(pieces)
            pieces, n_samples = [], 0
        pieces.append((span, start, samples))
        n_samples, last = n_samples + len(samples), start + len(samples)
    if pieces:
        yield _window(pieces)


def _window(pieces: list[tuple[Span, int, np.ndarray]]) -> Window:
    placed, offset = [], 0
    for _, start, samples in pieces:
        placed.append((offset, start, len(samples)))
        offset += len(samples)
    first, last = pieces[0][0], pieces[-1][0]
    return Window(np.concatenate([samples for _, _, samples in pieces]), tuple(placed),
                  since=first.start / SAMPLE_RATE if first.cut_before else None,
                  until=last.end / SAMPLE_RATE if last.cut_after else None)


def _spoken(blocks: Iterable[np.ndarray], onset: float, max_seconds: float, pad: int, overlap: int):
    """Yield (span, first sample, samples) of each span, padded by up to `pad` samples that are never another's.

    Where a span was cut, both sides get `overlap` samples of the other.
    """
    detector = SpeechDetector()
    speech = _Speech(onset, max_frames=int(max_seconds * SAMPLE_RATE) // FRAME)
    audio = _Recent()
    held: Span | None = None  # a span waits until it is known how far its padding may reach
    last = 0

    def padded(span: Span, reach: int):
        nonlocal last
        start = span.start - overlap if span.cut_before else max(span.start - pad, last)
        end = min(span.end + overlap, audio.end) if span.cut_after else min(span.end + pad, reach)
        last = span.end if span.cut_after else end
        return span, start, audio.cut(start, end)

    for frames in _whole_frames(blocks):
        audio.append(frames)
        for probability in detector.probabilities(frames):
            speech.push(float(probability))
        for span in speech.take():
            if held is not None:
                yield padded(held, span.start)
            held = span
        if held is not None and (audio.end >= held.end + overlap if held.cut_after
                                 else speech.open_from >= held.end + pad):
            yield padded(held, audio.end)
            held = None
        audio.forget(min(speech.open_from, held.start if held else audio.end) - max(pad, overlap))
    speech.finish()
    for span in speech.take():
        if held is not None:
            yield padded(held, span.start)
        held = span
    if held is not None:
        yield padded(held, audio.end)


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
