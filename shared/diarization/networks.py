"""The two networks behind `diarization`: who is active when within ten seconds, and a voice as 192 numbers.

Enters: 16 kHz mono samples. Leaves: local speaker activity, or embeddings. Knows nothing of windows, words or clusters.

Their weights lie in models/speakers, whose README tells their origin: segmentation-3.0 of pyannote (MIT; powerset
training, arXiv 2310.13025) and CAM++ of 3D-Speaker (Apache-2.0), which is in voices.py.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

from shared.audio import SAMPLE_RATE
from shared.diarization.voices import CamPlusPlus
from shared.errors import UserError
from shared.system.hardware import has_bfloat16

CHUNK_SECONDS = 10.0  # what the segmentation was trained on
FRAME_SAMPLES = 270  # one frame of activity: 16.9 ms
MAX_LOCAL = 3  # voices distinguished within one chunk
# The classes of the segmentation: nobody, one of three, two of three.
POWERSET = ((), (0,), (1,), (2,), (0, 1), (0, 2), (1, 2))
# Logarithms by which silence and overlap must be the likelier: found with FARTHEST, see clustering.py.
AGAINST_SILENCE = AGAINST_OVERLAP = 1.0
MODELS = Path(__file__).parents[1] / "models" / "speakers"
SEGMENTATION, EMBEDDING, MEAN = "segmentation-3.0.safetensors", "campplus.safetensors", "mean.safetensors"
# How much of the mean voice is taken from an embedding. What all voices have in common tells none from another, but
# part of it is the recording's own, which the mean of other recordings is not. Alike from 0.3 to 0.7 on the voices of
# `benchmarks.speakers --half tune`.
CENTRED = 0.5

# Pieces in a batch of embeddings: what lies between layers stays in the processor's cache.
MOST_TOGETHER = {torch.float32: 8, torch.bfloat16: 16}

N_BANDS = 80
FRAME_LENGTH, FRAME_SHIFT, N_FFT = 400, 160, 512  # 25 ms every 10 ms
PREEMPHASIS = 0.97
LOWEST_HZ = 20.0


def load() -> None:
    """Read both networks into memory, some 40 MB, once. Raises UserError if they are missing or damaged."""
    _segmentation()
    _embedding()
    _mean()


@torch.inference_mode()
def activity(chunks: np.ndarray) -> np.ndarray:
    """Which of up to three voices speak: (batch, n_samples) → bool (batch, n_frames, 3), a frame each 270 samples.

    Voices are numbered within their chunk alone.
    """
    against = torch.tensor([(AGAINST_SILENCE, 0.0, AGAINST_OVERLAP)[len(members)] for members in POWERSET])
    classes = (_segmentation()(torch.from_numpy(chunks)[:, None]) - against).argmax(-1)  # (batch, n_frames)
    active = np.zeros((len(POWERSET), MAX_LOCAL), dtype=bool)
    for row, members in enumerate(POWERSET):
        active[row, list(members)] = True
    return active[classes.numpy()]


def embeddings(pieces: torch.Tensor) -> np.ndarray:
    """Voices in 192 numbers, of length 1: (n, n_frames, 80) of `log_bands` → (n, 192). Half a second at least."""
    moved = raw_embeddings(pieces) - CENTRED * _mean()
    return moved / np.linalg.norm(moved, axis=1, keepdims=True)


@torch.inference_mode()
def raw_embeddings(pieces: torch.Tensor) -> np.ndarray:
    """The same as the network gives them, which all lie on one side: two voices have a cosine of 0.2 on average."""
    network = _embedding()
    parts = (pieces - pieces.mean(1, keepdim=True)).split(MOST_TOGETHER[network.dtype])
    return torch.cat([functional.normalize(network(part), dim=1) for part in parts]).numpy()


def log_bands(samples: np.ndarray) -> torch.Tensor:
    """Kaldi's log-mel filter bank, as CAM++ was trained on: (n_samples,) → (n_frames, 80), a frame each 10 ms.

    Kaldi's defaults (feat/feature-fbank.cc, feature-window.cc) but for 80 bands and no dither.
    """
    frames = torch.from_numpy(np.ascontiguousarray(samples)).unfold(0, FRAME_LENGTH, FRAME_SHIFT)
    frames = frames - frames.mean(1, keepdim=True)
    frames = frames - PREEMPHASIS * torch.cat([frames[:, :1], frames[:, :-1]], 1)
    power = torch.fft.rfft(frames * _window(), N_FFT).abs().square()
    return (power @ _bank()).clamp(min=torch.finfo(torch.float32).eps).log()


@functools.cache
def _window() -> torch.Tensor:
    return torch.hann_window(FRAME_LENGTH, periodic=False).pow(0.85)  # Povey's


@functools.cache
def _bank() -> torch.Tensor:
    """Triangles equally wide in mel: (n_fft / 2 + 1, 80)."""
    def mel(hz: torch.Tensor) -> torch.Tensor:
        return 1127.0 * torch.log1p(hz / 700.0)

    lowest, highest = mel(torch.tensor([LOWEST_HZ, SAMPLE_RATE / 2])).tolist()
    edges = torch.linspace(lowest, highest, N_BANDS + 2)
    at = mel(torch.arange(N_FFT // 2 + 1) * (SAMPLE_RATE / N_FFT))[:, None]
    width = edges[1] - edges[0]
    return torch.minimum((at - edges[:-2]) / width, (edges[2:] - at) / width).clamp(min=0.0)


# the weights


def _load(name: str) -> dict[str, torch.Tensor]:
    path = MODELS / name
    if not path.is_file():
        raise UserError("The speaker models are missing", got=f"no {path.name}",
                        hint="get shared/models/speakers again, or go on without speakers")
    try:
        weights = load_file(path)
    except SafetensorError as error:
        raise UserError("The speaker models are damaged", got=path.name,
                        hint="get shared/models/speakers again, or go on without speakers") from error
    return {tensor: values.float() if values.is_floating_point() else values for tensor, values in weights.items()}


@functools.cache
def _segmentation() -> nn.Module:
    weights = _load(SEGMENTATION)
    model = _PyanNet(_sinc_filters({name.rpartition(".")[2]: tensor for name, tensor in weights.items()
                                    if ".filterbank." in name}))
    model.load_state_dict({name: tensor for name, tensor in weights.items() if ".filterbank." not in name})
    return model.eval()


@functools.cache
def _embedding() -> CamPlusPlus:
    """In bfloat16 where the processor multiplies it: half of the time, as few errors (docs/benchmarks.md)."""
    return CamPlusPlus(_load(EMBEDDING), torch.bfloat16 if has_bfloat16() else torch.float32)


@functools.cache
def _mean() -> np.ndarray:
    """The mean of many voices' embeddings, (192,): `benchmarks.speaker_mean`."""
    return _load(MEAN)["mean"].numpy()


# segmentation-3.0


def _sinc_filters(learned: dict[str, torch.Tensor]) -> torch.Tensor:
    """SincNet's band-pass filters, even and odd ones, from their learned edges: (80, 1, 251). arXiv 1808.00158."""
    low = 50 + learned["low_hz_"].abs()  # (40, 1)
    high = (low + 50 + learned["band_hz_"].abs()).clamp(50, SAMPLE_RATE / 2)
    time, window = learned["n_"], learned["window_"]  # the left half; 2π t / sample rate
    even = (torch.sin(high * time) - torch.sin(low * time)) / (time / 2) * window
    odd = (torch.cos(low * time) - torch.cos(high * time)) / (time / 2) * window
    middle = 2 * (high - low)
    filters = torch.cat([torch.cat([even, middle, even.flip(1)], 1),
                         torch.cat([odd, torch.zeros_like(middle), -odd.flip(1)], 1)])
    return (filters / torch.cat([middle, middle]))[:, None]


class _SincNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.wav_norm1d = nn.InstanceNorm1d(1, affine=True)
        self.conv1d = nn.ModuleList([nn.Identity(), nn.Conv1d(80, 60, 5), nn.Conv1d(60, 60, 5)])
        self.norm1d = nn.ModuleList([nn.InstanceNorm1d(n, affine=True) for n in (80, 60, 60)])


class _PyanNet(nn.Module):
    """Waveform (batch, 1, n_samples) → scores of the powerset classes (batch, n_frames, 7)."""

    filters: torch.Tensor

    def __init__(self, filters: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("filters", filters, persistent=False)
        self.sincnet = _SincNet()
        self.lstm = nn.LSTM(60, 128, num_layers=4, bidirectional=True, batch_first=True)
        self.linear = nn.ModuleList([nn.Linear(256, 128), nn.Linear(128, 128)])
        self.classifier = nn.Linear(128, len(POWERSET))

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        net = self.sincnet
        x = functional.conv1d(net.wav_norm1d(samples), self.filters, stride=10).abs()
        for convolve, norm in zip(net.conv1d, net.norm1d, strict=True):
            x = functional.leaky_relu(norm(functional.max_pool1d(convolve(x), 3)))
        x, _ = self.lstm(x.transpose(1, 2))
        for linear in self.linear:
            x = functional.leaky_relu(linear(x))
        return self.classifier(x)
