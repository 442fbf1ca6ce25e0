"""The benchmark of invented text: its sounds are what it says, and the same each time."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.silence import GAP_SECONDS, NOISES, around_speech, noise
from shared.audio import SAMPLE_RATE


@pytest.mark.parametrize("kind", NOISES)
def test_a_noise_is_the_same_each_time_and_of_one_level(kind):
    one = noise(kind, 2 * SAMPLE_RATE)
    assert np.array_equal(one, noise(kind, 2 * SAMPLE_RATE)) and np.isfinite(one).all()
    assert np.sqrt(np.mean(np.square(one))) == pytest.approx(1, abs=1e-3)
    assert not np.array_equal(one, noise(kind, 2 * SAMPLE_RATE, seed=1)) or kind == "ringing"


@pytest.mark.parametrize("snr_db", [20, -5])
def test_noise_around_speech_has_its_level(snr_db):
    clean, spoken = around_speech("white", 200)
    mixed, again = around_speech("white", snr_db)
    parts = np.stack([clean, noise("white", len(clean))], axis=1)
    (of_speech, of_noise), *_ = np.linalg.lstsq(parts, mixed, rcond=None)
    gap = int(GAP_SECONDS * SAMPLE_RATE)
    assert spoken == again and len(spoken.split()) > 20 and np.abs(mixed).max() <= 1 and not clean[:gap].round(6).any()
    power = np.mean(np.square(clean[np.abs(clean) > 0.01])) ** 0.5  # of the clips, roughly: their pauses are few
    assert 20 * np.log10(of_speech * power / of_noise) == pytest.approx(snr_db, abs=4)
