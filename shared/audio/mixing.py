"""Channels in, one channel out, in [-1, 1] and without letting them cancel.

A microphone or cable wired the wrong way round gives two channels of opposite phase; their mean is silence. Each
channel's polarity against the loudest one is found second by second and corrected before the mean is taken. Knows
nothing of files.
"""

from __future__ import annotations

import numpy as np

from shared.audio.waveform import SAMPLE_RATE

FRAME = SAMPLE_RATE  # samples on which polarity is decided: whatever the blocks, the same seconds
OPPOSITE, SAME = -0.6, 0.0  # correlation below the first turns a channel round, above the second turns it back
_FRONT = 0.707  # weights of ITU-R BS.775 for a mix to fewer channels: centre 1, left and right 0.707, others 0.5
_BEHIND = 0.5
MAX_LEVEL = 8.0  # floats may go a little beyond 1 (mixing and resampling do it); integers kept as floats go far beyond
INTEGER_SCALES = (2.0**15, 2.0**23, 2.0**31)


def full_scale(level: float) -> float:
    """What 1.0 is, by the largest absolute sample: some programs write 16-bit samples as floats and do not divide."""
    if level <= MAX_LEVEL:
        return 1.0
    return next((scale for scale in INTEGER_SCALES if level <= 2 * scale), INTEGER_SCALES[-1])


def channel_weights(n_channels: int, layout: str = "") -> np.ndarray:
    """How much each channel counts: float32 (n_channels,), sum 1. The low-frequency channel of 5.1 and 7.1 does not."""
    weights = np.ones(n_channels, dtype=np.float32)
    main, _, low = layout.partition("(")[0].partition(".")
    if low.startswith("1") and main.isdigit() and int(main) >= 3 and int(main) + 1 == n_channels:
        weights[:] = _BEHIND
        weights[[0, 1]], weights[2], weights[3] = _FRONT, 1.0, 0.0  # left, right, centre, low frequencies
    elif low.startswith("1") and main == "2" and n_channels == 3:
        weights[2] = 0.0
    return weights / weights.sum()


class MonoMixer:
    """Mixes a stream; push whole frames of FRAME samples, the last may be shorter.

    n_channels, layout: as ffmpeg names it, for example 6 and "5.1(side)".
    """

    def __init__(self, n_channels: int, layout: str = "") -> None:
        self._weights = channel_weights(n_channels, layout)
        self._used = self._weights > 0
        self._polarity = np.ones(n_channels, dtype=np.float32)

    def push(self, frame: np.ndarray) -> np.ndarray:
        """float32 (n_samples, n_channels) -> float32 (n_samples,)."""
        if frame.shape[1] == 1:
            return frame[:, 0]
        used = np.ascontiguousarray(frame[:, self._used].T)
        products = (used @ used.T).astype(np.float64)
        energies = np.diag(products)
        loudest = int(np.argmax(energies))
        if energies[loudest] > 0:
            scale = np.sqrt(energies * energies[loudest])
            correlation = np.divide(products[loudest], scale, out=np.full(len(scale), np.nan), where=scale > 0)
            polarity = self._polarity[self._used]
            polarity[correlation < OPPOSITE] = -polarity[loudest]
            polarity[correlation > SAME] = polarity[loudest]
            self._polarity[self._used] = polarity
        return frame @ (self._weights * self._polarity)


def to_mono(samples: np.ndarray, layout: str = "") -> np.ndarray:
    """float32 (n_samples, n_channels) -> float32 (n_samples,), as `MonoMixer` does it for a stream."""
    mixer = MonoMixer(samples.shape[1], layout)
    frames = [mixer.push(samples[first : first + FRAME]) for first in range(0, len(samples), FRAME)]
    return np.concatenate(frames) if frames else np.zeros(0, dtype=np.float32)
