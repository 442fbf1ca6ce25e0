"""Where somebody speaks: voice activity detection over a stream.

Enters: blocks of 16 kHz mono samples. Leaves: probabilities of speech and spans of it. Knows nothing of windows.

The detector is Silero VAD v6 (MIT, https://github.com/snakers4/silero-vad), whose weights ship in its wheel.
Its network sees 32 ms at a time and carries an LSTM state; here the convolutions of a whole block run as one
batch and the LSTM as one sequence, which gives the same numbers many times faster than a call per frame.
"""

from __future__ import annotations

import functools
import importlib.util
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from shared.audio.waveform import SAMPLE_RATE
from shared.errors import UserError

if TYPE_CHECKING:  # torch takes seconds to import: where it is used, so that an app's first page does not wait for it
    import torch

FRAME = 512  # samples Silero judges at a time: 32 ms
CONTEXT = 64  # samples of the frame before, which it sees as well

# Silero's own defaults are onset 0.5 and offset = onset - 0.15 with 30 ms of padding. Whisper wants to hear the
# onset of the first sound and the end of the last, hence the wider padding; the silence that ends a span is longer
# than a plosive's closure (about 0.1 s) and shorter than a pause between sentences.
OFFSET_BELOW_ONSET = 0.15
MIN_SPEECH = 0.1
MIN_SILENCE = 0.3


@dataclass(frozen=True)
class Span:
    """Speech from sample `start` up to sample `end` of the whole audio. cut_before, cut_after: it goes on there."""

    start: int
    end: int
    cut_before: bool = False
    cut_after: bool = False


class SpeechDetector:
    """Silero VAD over a stream; state is kept between calls. Not for use by two threads at once."""

    def __init__(self) -> None:
        self._weights = _silero_weights()
        self._lstm = _silero_lstm()
        self._state: tuple[torch.Tensor, torch.Tensor] | None = None
        self._context = np.zeros(CONTEXT, dtype=np.float32)

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
        import torch

        frames = torch.from_numpy(np.lib.stride_tricks.sliding_window_view(padded, CONTEXT + FRAME)[::FRAME].copy())
        with torch.inference_mode():
            hidden, self._state = self._lstm(self._encode(frames), self._state)
            weights = self._weights
            logits = hidden.relu() @ weights["decoder.decoder.2.weight"][0, :, 0] + weights["decoder.decoder.2.bias"]
            return logits.sigmoid().numpy()

    def _encode(self, frames: torch.Tensor) -> torch.Tensor:
        """(n_frames, 576) → (n_frames, 128)."""
        from torch.nn import functional

        weights = self._weights
        x = functional.pad(frames, (0, CONTEXT), mode="reflect")[:, None]
        x = functional.conv1d(x, weights["stft.forward_basis_buffer"], stride=128)  # (n_frames, 258, 4)
        x = (x[:, :129].square() + x[:, 129:].square()).sqrt()
        for layer, stride in enumerate((1, 2, 2, 1)):
            name = f"encoder.{layer}.reparam_conv"
            x = functional.conv1d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], stride, padding=1).relu()
        return x[:, :, 0]


def silero_file(name: str) -> Path:
    """A file of the package silero-vad. Raises UserError where that is not installed."""
    # Found without importing silero_vad, whose import sets torch to one thread for the whole process.
    spec = importlib.util.find_spec("silero_vad")
    if spec is None or not spec.submodule_search_locations:
        raise UserError("The speech detector is not installed", got="no package silero_vad",
                        hint="pip install silero-vad")
    return Path(spec.submodule_search_locations[0]) / "data" / name


@functools.cache
def _silero_weights() -> dict[str, torch.Tensor]:
    # The wheel's safetensors file holds an older network: the TorchScript one is what `load_silero_vad` serves.
    import torch

    return dict(torch.jit.load(silero_file("silero_vad.jit"), map_location="cpu")._model.state_dict())


@functools.cache
def _silero_lstm() -> torch.nn.LSTM:
    import torch

    lstm = torch.nn.LSTM(128, 128)
    lstm.load_state_dict({f"{name}_l0": _silero_weights()[f"decoder.rnn.{name}"]
                          for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")})
    return lstm.eval()


@dataclass
class SpeechSpans:
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
                self._close(self._start, self._last)
            if self._start is not None and len(self._open) >= self.max_frames:
                self._cut(self._start)
        self._frame += 1

    def finish(self) -> None:
        if self._start is not None:
            self._close(self._start, self._last)

    def take(self) -> list[Span]:
        """The spans closed since the last call."""
        spans, self.spans = self.spans, []
        return spans

    @property
    def open_from(self) -> int:
        """Sample before which nothing can become speech any more."""
        return (self._frame if self._start is None else self._start) * FRAME

    def _close(self, start: int, end: int) -> None:
        if (end - start) * FRAME >= MIN_SPEECH * SAMPLE_RATE:
            self.spans.append(Span(start * FRAME, end * FRAME, cut_before=self._was_cut))
        self._start, self._was_cut = None, False

    def _cut(self, start: int) -> None:
        """Speech without a pause for a whole window: part it at the least speech-like moment of its second half."""
        half = self.max_frames // 2
        smooth = np.convolve(self._open[half:], np.ones(5) / 5, mode="same")
        at = half + 2 + int(np.argmin(smooth[2:-2]))
        cut = start + at
        self.spans.append(Span(start * FRAME, cut * FRAME, self._was_cut, cut_after=True))
        self._start, self._open, self._was_cut = cut, self._open[at:], True



