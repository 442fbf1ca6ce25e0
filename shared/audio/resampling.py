"""Sound at any rate to 16 kHz, piece by piece, as if it were one piece.

Browsers that cannot record at 16 kHz send what their microphone gives. Windowed-sinc interpolation (Smith, Digital
Audio Resampling, https://ccrma.stanford.edu/~jos/resample/), its state carried from piece to piece.
"""

from __future__ import annotations

import math

import numpy as np

ZERO_CROSSINGS = 16  # of the sinc on each side


class Resampler:
    """Mono float32 from `rate` to `target` Hz."""

    def __init__(self, rate: int, target: int) -> None:
        common = math.gcd(rate, target)
        self._up, self._down = target // common, rate // common
        cutoff = min(1.0, self._up / self._down) * 0.95  # of the input's Nyquist frequency
        self._half = math.ceil(ZERO_CROSSINGS / cutoff)  # input samples on each side
        offsets = np.arange(-self._half + 1, self._half + 1)[None] - (np.arange(self._up) / self._up)[:, None]
        window = np.kaiser(2048, 8.0)
        shape = np.interp(offsets, np.linspace(-self._half, self._half, 2048), window)
        self._kernels = (cutoff * np.sinc(cutoff * offsets) * shape).astype(np.float32)  # (phases, 2 × half)
        self._input = np.zeros(self._half - 1, dtype=np.float32)  # silence before the first sample
        self._skipped, self._n_out, self._n_in = -(self._half - 1), 0, 0

    def push(self, samples: np.ndarray) -> np.ndarray:
        """(n_samples,) → what can be computed so far; the rest comes with the next piece."""
        self._n_in += len(samples)
        return self._take(samples)

    def finish(self) -> np.ndarray:
        """What the last samples still give: in all as many as the input's duration holds."""
        if self._up == self._down:
            return np.zeros(0, dtype=np.float32)
        wanted = -(-self._n_in * self._up // self._down) - self._n_out
        rest = self._take(np.zeros(2 * self._half + self._down, dtype=np.float32))
        return rest[:wanted]

    def _take(self, samples: np.ndarray) -> np.ndarray:
        if self._up == self._down:
            return samples
        self._input = np.concatenate([self._input, samples])
        ready = self._skipped + len(self._input) - self._half  # input positions below this have all they need
        n_until = max(self._n_out, -(-max(ready, 0) * self._up // self._down))
        at = np.arange(self._n_out, n_until, dtype=np.int64) * self._down
        first = at // self._up - self._half + 1 - self._skipped
        clips = self._input[first[:, None] + np.arange(2 * self._half)]
        out = np.einsum("ij,ij->i", clips, self._kernels[at % self._up]).astype(np.float32)
        self._n_out = n_until
        keep = max(0, n_until * self._down // self._up - self._half + 1 - self._skipped)
        self._input, self._skipped = self._input[keep:], self._skipped + keep
        return out
