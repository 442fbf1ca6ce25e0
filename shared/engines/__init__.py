"""What an engine is: a Whisper encoder and decoder on some hardware, behind a few methods.

An engine gets log-mel and token ids and gives token ids. It knows nothing of audio files, windows, languages by
name or text. `ctranslate2_engine.py` and `transformers_engine.py` are the two there are; `load_engine` picks one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from shared.errors import UserError

ENGINES = ("auto", "ctranslate2", "transformers")
DEFAULT_COMPUTE = {
    ("ctranslate2", "cpu"): "int8", ("ctranslate2", "cuda"): "float16",
    ("transformers", "cpu"): "float32", ("transformers", "cuda"): "float16",
}


@dataclass(frozen=True)
class Decoded:
    """One window's tokens (without prompt and end token) and how sure the model was.

    avg_logprob: summed log-probability over tokens and end token, divided by their number (≤ 0).
    no_speech_prob: probability of <|nospeech|> as the first token. finished: the end token was reached.
    """

    tokens: tuple[int, ...]
    avg_logprob: float
    no_speech_prob: float
    finished: bool


class Engine(Protocol):
    name: str
    device: str
    compute_type: str
    n_mels: int
    batch_size: int  # windows decoded together
    encoder_batch: int  # windows encoded together; 1 where more gain nothing and only delay a cancel

    def encode(self, features: np.ndarray) -> Any:
        """Log-mel float32 (batch, n_mels, n_frames ≤ 3000) → encoder states, opaque to the caller."""

    def join(self, states: Sequence[Any]) -> Any:
        """Encoder states of equal n_frames as one batch."""

    def row(self, states: Any, index: int) -> Any:
        """One row of a batch, as a batch of one."""

    def detect_language(self, states: Any) -> list[dict[str, float]]:
        """Probability of each language code, per row. Multilingual checkpoints only."""

    def decode(
        self, states: Any, prompt: Sequence[int], *, beam_size: int, max_tokens: int, no_repeat_ngram: int = 0,
        cancel: threading.Event | None = None,
    ) -> list[Decoded]:
        """Decode every row from the same prompt. Timestamp rules apply unless the prompt forbids timestamps.

        Nothing is sampled, so the same call gives the same tokens. no_repeat_ngram: forbid saying any so many tokens
        twice (0: allow).
        """

    def align(
        self, states: Any, row: int, prompt: Sequence[int], tokens: Sequence[int], n_frames: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Text tokens of one row against its frames, by cross-attention and dynamic time warping.

        prompt: the start tokens before <|notimestamps|>. n_frames: log-mel frames that hold sound.
        Returns (token index, seconds) along the path, each (n_steps,), and the probability of each token (n_tokens,).
        """


def load_engine(name: str, device: str, compute_type: str, folder_of: Callable[[str], Path]) -> Engine:
    """Open a checkpoint on an engine. folder_of: gives the checkpoint's folder in the form asked for.

    name: auto, ctranslate2 or transformers. On a GPU (ZeroGPU too) auto is transformers in float16; on a CPU it is
    CTranslate2 in int8, which reads a quarter of the weights' bytes a step (benchmarks/README.md has the figures).
    Raises UserError for a name, device or compute type there is not.
    """
    if name not in ENGINES:
        raise UserError("There is no such engine", got=name, limit=", ".join(ENGINES), todo="choose one of those")
    if device == "auto":
        device = "cuda" if _has_gpu() else "cpu"
    if device == "cuda" and not _has_gpu():
        raise UserError("There is no GPU that can be used", got="device cuda", todo="choose the device cpu")
    if name == "auto":
        name = "transformers" if device == "cuda" else "ctranslate2"
    if name == "ctranslate2":
        from shared.engines.ctranslate2_engine import CTranslate2Engine as Chosen
    else:
        from shared.engines.transformers_engine import TransformersEngine as Chosen
    if compute_type == "auto":
        compute_type = DEFAULT_COMPUTE[name, device]
    return Chosen(folder_of(name), device=device, compute_type=compute_type)


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()
