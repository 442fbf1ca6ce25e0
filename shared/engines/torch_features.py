"""Log-mel on torch, for a GPU: what `shared.audio.features.log_mel` computes, some fifty times as fast there."""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor

from shared.audio.features import (
    DYNAMIC_RANGE,
    POWER_FLOOR,
    mel_filters,
)
from shared.whisper_constants import HOP_LENGTH, N_FFT, N_FRAMES_FULL


@torch.inference_mode()
def log_mel(samples: np.ndarray, n_mels: int, device: torch.device) -> np.ndarray:
    """Log-mel spectrogram of a clip: float32 (n_samples,) → float32 (n_mels, n_frames), one frame for each 10 ms begun.
    """
    n_frames = max(1, -(-len(samples) // HOP_LENGTH))
    half, n_samples = N_FFT // 2, n_frames * HOP_LENGTH
    padded = torch.zeros(n_samples + N_FFT, device=device)
    padded[half : half + len(samples)] = torch.from_numpy(np.asarray(samples, dtype=np.float32)).to(device)
    padded[:half] = padded[half + 1 : 2 * half + 1].flip(0)  # mirrored at both ends, as torch.stft does it
    if n_frames >= N_FRAMES_FULL:
        padded[half + n_samples :] = padded[n_samples - 1 : half + n_samples - 1].flip(0)
    window, filters = _constants(n_mels, device)
    spectrum = torch.fft.rfft(padded.unfold(0, N_FFT, HOP_LENGTH)[:n_frames] * window)
    mel = filters @ (spectrum.real.square() + spectrum.imag.square()).T
    log = mel.clamp(min=POWER_FLOOR).log10()
    return ((torch.maximum(log, log.max() - DYNAMIC_RANGE) + 4.0) / 4.0).cpu().numpy()


@functools.cache
def _constants(n_mels: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Periodic Hann window (N_FFT,) and mel filters (n_mels, 1 + N_FFT / 2)."""
    return torch.hann_window(N_FFT, device=device), torch.from_numpy(mel_filters(n_mels)).to(device)
