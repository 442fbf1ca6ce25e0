"""16 kHz mono samples, the one form in which sound passes between parts of this program."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shared.whisper_constants import SAMPLE_RATE


@dataclass(frozen=True, eq=False)
class Waveform:
    """Mono audio at SAMPLE_RATE.

    Attributes:
        samples: float32 (n_samples,) in [-1, 1].
    """

    samples: np.ndarray

    @property
    def duration(self) -> float:
        """Seconds."""
        return len(self.samples) / SAMPLE_RATE
