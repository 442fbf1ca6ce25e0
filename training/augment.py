"""Changes to a waveform or a log-mel that leave its words as they are.

Enters: float32 arrays and a random generator. Leaves: new arrays of the same kind. Knows nothing of data sets.
"""

from __future__ import annotations

import numpy as np
from scipy.signal import fftconvolve

from shared.whisper_constants import SAMPLE_RATE, WINDOW_SAMPLES
from training.config import Augment


def wave_augment(samples: np.ndarray, chances: Augment, rng: np.random.Generator) -> np.ndarray:
    """Each change with its chance, drawn in a fixed order; the result stays within [-1, 1] and 30 s."""
    if rng.random() < chances.speed:
        samples = change_speed(samples, rng.uniform(0.9, 1.1))
    if chances.reverb and rng.random() < chances.reverb:
        samples = reverberate(samples, rng.uniform(0.1, 0.6), rng)
    if rng.random() < chances.telephone:
        samples = telephone_band(samples)
    if rng.random() < chances.noise:
        samples = add_noise(samples, rng.uniform(10, 30), pink=rng.random() < 0.5, rng=rng)
    if rng.random() < chances.gain:
        samples = samples * np.float32(10 ** (rng.uniform(-12, 6) / 20))
    return np.clip(samples, -1, 1, dtype=np.float32)


def change_speed(samples: np.ndarray, factor: float) -> np.ndarray:
    """Faster (factor > 1) or slower, pitch with it: linear interpolation, cut at 30 s."""
    n_samples = min(int(len(samples) / factor), WINDOW_SAMPLES)
    return np.interp(np.arange(n_samples) * factor, np.arange(len(samples)), samples).astype(np.float32)


def reverberate(samples: np.ndarray, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """As heard in a room, as long and as loud as before: white noise that falls by 60 dB within `seconds` after the
    direct sound, with 0 to 10 dB less energy than that (Lehmann and Johansson 2010, doi:10.1109/TASL.2009.2035038)."""
    n_samples = int(seconds * SAMPLE_RATE)
    room = rng.standard_normal(n_samples) * 10 ** (-3 * np.arange(n_samples) / n_samples)
    room *= np.sqrt(10 ** (-rng.uniform(0, 10) / 10) / np.sum(np.square(room)))
    room[0] = 1.0
    heard = fftconvolve(samples, room)[: len(samples)]
    power = float(np.mean(np.square(samples))) / max(float(np.mean(np.square(heard))), 1e-12)
    return (heard * np.sqrt(power)).astype(np.float32)


def telephone_band(samples: np.ndarray) -> np.ndarray:
    """Only 300 to 3400 Hz, the band of ITU-T G.712."""
    spectrum = np.fft.rfft(samples)
    hertz = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE)
    return np.fft.irfft(np.where((hertz >= 300) & (hertz <= 3400), spectrum, 0), len(samples)).astype(np.float32)


def add_noise(samples: np.ndarray, snr_db: float, *, pink: bool, rng: np.random.Generator) -> np.ndarray:
    """White or pink (power falls with frequency) noise, `snr_db` below the clip's own power."""
    noise = rng.standard_normal(len(samples), dtype=np.float32)
    if pink:
        spectrum = np.fft.rfft(noise)
        shaped = np.fft.irfft(spectrum / np.sqrt(np.maximum(np.arange(len(spectrum)), 1)), len(samples))
        noise = shaped.astype(np.float32)
    power = float(np.mean(np.square(samples))) / 10 ** (snr_db / 10)
    scale = np.sqrt(power / max(float(np.mean(np.square(noise))), 1e-12))
    return (samples + scale * noise).astype(np.float32)


def spec_augment(mel: np.ndarray, chance: float, rng: np.random.Generator, masks: int = 1) -> np.ndarray:
    """With `chance`, stretches of time and of mel channels set to the clip's mean (arXiv:1904.08779).

    masks: how many of each.
    """
    if rng.random() >= chance:
        return mel
    mel = mel.copy()
    n_mels, n_frames = mel.shape
    mean = mel.mean()
    for _ in range(masks):
        width = int(rng.integers(0, max(2, n_frames // 20)))
        start = int(rng.integers(0, n_frames - width + 1))
        height = int(rng.integers(0, 17))
        low = int(rng.integers(0, n_mels - height + 1))
        mel[:, start : start + width] = mean
        mel[low : low + height] = mean
    return mel


def noise(rng: np.random.Generator) -> np.ndarray:
    """1 to 10 s in which nobody speaks: digital silence or noise at some level, float32 (n_samples,)."""
    samples = np.zeros(int(rng.uniform(1, 10) * SAMPLE_RATE), dtype=np.float32)
    if rng.random() < 0.3:
        return samples
    hiss = add_noise(samples + np.float32(1), 0, pink=rng.random() < 0.5, rng=rng) - 1
    return np.clip(hiss * np.float32(10 ** (rng.uniform(-60, -20) / 20)), -1, 1, dtype=np.float32)
