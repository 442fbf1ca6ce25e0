"""Waveform in, log-mel spectrogram out: the one implementation that serving and training use.

Enters: 16 kHz mono samples. Leaves: what Whisper's encoder reads. Knows nothing of models, windows or batches,
and needs numpy only.

The recipe is Whisper's (Radford et al. 2022, arXiv 2212.04356, section 2.2): 25 ms Hann windows every 10 ms,
80 or 128 mel channels, log10, clipped 8 decades (80 dB) below the loudest bin, scaled to about [-1, 1].
"""

from __future__ import annotations

import functools

import numpy as np

from shared.whisper_constants import (
    FRAMES_PER_POSITION,
    FRAMES_PER_SECOND,
    HOP_LENGTH,
    N_FFT,
    N_FRAMES_FULL,
    SAMPLE_RATE,
)

POWER_FLOOR = 1e-10  # what log10 sees of digital silence
DYNAMIC_RANGE = 8.0  # decades kept below the loudest bin


def log_mel(samples: np.ndarray, n_mels: int = 80, n_frames: int | None = None) -> np.ndarray:
    """Log-mel spectrogram of a clip: float32 (n_samples,) -> float32 (n_mels, n_frames).

    n_frames: how many frames of 10 ms to return; the clip is followed by digital silence, or cut. By default
    as many as begin within the clip: ceil(n_samples / HOP_LENGTH), at least 1. With N_FRAMES_FULL the result is that of
    Whisper's own feature extractor, and any shorter one is its beginning.
    Raises ValueError unless samples is one-dimensional.
    """
    samples = np.asarray(samples, dtype=np.float32)
    if samples.ndim != 1:
        raise ValueError(f"log_mel wants samples of shape (n_samples,), got {samples.shape}")
    if n_frames is None:
        n_frames = max(1, -(-len(samples) // HOP_LENGTH))
    mel = _filtered(_power_spectrum(samples, n_frames), n_mels)
    log = np.log10(np.maximum(mel, POWER_FLOOR, out=mel), out=mel)
    np.maximum(log, log.max() - DYNAMIC_RANGE, out=log)
    log += 4.0
    log /= 4.0
    return log


def frames_for(seconds: float) -> int:
    """How many log-mel frames the encoder gets for so much sound: whole positions, at most those of a full window."""
    n_positions = int(np.ceil(seconds * FRAMES_PER_SECOND / FRAMES_PER_POSITION))
    return min(N_FRAMES_FULL, n_positions * FRAMES_PER_POSITION)


def pad_or_trim(mel: np.ndarray, n_frames: int) -> np.ndarray:
    """Cut or lengthen (…, n_mels, n_frames) to n_frames, with the value that silence after this clip has.

    Frames 0 and 1 after the clip's end differ a little from `log_mel(samples, n_mels, n_frames)`, whose windows
    there still hold the clip's last samples.
    """
    missing = n_frames - mel.shape[-1]
    if missing <= 0:
        return mel[..., :n_frames]
    widths = [(0, 0)] * (mel.ndim - 1) + [(0, missing)]
    return np.pad(mel, widths, constant_values=silence_value(mel))


def silence_value(mel: np.ndarray) -> float:
    """The value of digital silence in a spectrogram whose loudest bin is that of `mel`."""
    return max(float(mel.max()) - DYNAMIC_RANGE / 4.0, (np.log10(POWER_FLOOR) + 4.0) / 4.0)


@functools.cache
def mel_filters(n_mels: int) -> np.ndarray:
    """Triangular mel filters: float32 (n_mels, 1 + N_FFT / 2), each of unit area.

    Slaney's scale (Auditory Toolbox, 1998; the default of librosa.filters.mel): linear below 1 kHz at 200/3 Hz
    a mel, logarithmic above with 27 mels to a factor of 6.4.
    """
    break_hz, hz_per_mel, log_step = 1000.0, 200.0 / 3, np.log(6.4) / 27
    break_mel = break_hz / hz_per_mel
    top = break_mel + np.log(SAMPLE_RATE / 2 / break_hz) / log_step
    mels = np.linspace(0.0, top, n_mels + 2)
    edges = np.where(mels < break_mel, mels * hz_per_mel, break_hz * np.exp(log_step * (mels - break_mel)))  # Hz
    bins = np.linspace(0.0, SAMPLE_RATE / 2, 1 + N_FFT // 2)
    widths = np.diff(edges)[:, None]
    rising = (bins - edges[:-2, None]) / widths[:-1]
    falling = (edges[2:, None] - bins) / widths[1:]
    area = 2.0 / (edges[2:] - edges[:-2])
    return (np.maximum(0.0, np.minimum(rising, falling)) * area[:, None]).astype(np.float32)


@functools.cache
def _window() -> np.ndarray:
    """Periodic Hann window: float32 (N_FFT,)."""
    return np.hanning(N_FFT + 1)[:-1].astype(np.float32)


def _power_spectrum(samples: np.ndarray, n_frames: int) -> np.ndarray:
    """float32 (n_samples,) -> float32 (1 + N_FFT / 2, n_frames); frame i is centred on sample HOP_LENGTH · i."""
    half = N_FFT // 2
    n_samples = n_frames * HOP_LENGTH
    clip = samples[: n_samples + half]
    padded = np.zeros(n_samples + N_FFT, dtype=np.float32)
    padded[half : half + len(clip)] = clip
    padded[:half] = padded[2 * half : half : -1]  # mirrored at both ends, as torch.stft does it
    if n_frames >= N_FRAMES_FULL:  # only a full window has an end; a shorter one goes on in silence
        padded[half + n_samples :] = padded[half + n_samples - 2 : n_samples - 2 : -1]
    frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::HOP_LENGTH][:n_frames]
    spectrum = np.fft.rfft(frames * _window())  # complex64 (n_frames, 201)
    return np.ascontiguousarray((spectrum.real**2 + spectrum.imag**2).T)


def _filtered(power: np.ndarray, n_mels: int) -> np.ndarray:
    """float32 (n_bins, n_frames) -> float32 (n_mels, n_frames): each filter's few bins, weighted and summed.

    Not a matrix product: numpy's BLAS keeps its own threads spinning for milliseconds after each, and those starve
    torch's. On two cores that cost short clips 40 % of their speed.
    """
    mel = np.zeros((n_mels, power.shape[1]), dtype=np.float32)
    weighted = np.empty_like(mel[0])
    for row, bin_, weight in _weights(n_mels):
        mel[row] += np.multiply(power[bin_], weight, out=weighted)
    return mel


@functools.cache
def _weights(n_mels: int) -> list[tuple[int, int, np.float32]]:
    """(filter, bin, weight) of the filters' nonzero weights: 391 for 80 mels."""
    filters = mel_filters(n_mels)
    return [(row, bin_, filters[row, bin_]) for row, bin_ in np.argwhere(filters).tolist()]
