"""What an engine is: a Whisper encoder and decoder on some hardware, behind a few methods.

An engine gets log-mel and token ids and gives token ids. It knows nothing of audio files, windows, languages by
name or text. `torch_engine.py` and `ctranslate2_engine.py` are the two there are; `plan_engine` picks one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from shared.checkpoint import Form
from shared.engines.hotword_trie import HotwordTrie
from shared.engines.spelling import Spelling
from shared.errors import OtherForm, UserError
from shared.options import ENGINES
from shared.system.hardware import has_avx2, has_gpu

# In which a checkpoint's folder must be.
FORMS: dict[str, Form] = {"torch": "transformers", "ctranslate2": "ctranslate2"}
# Engines that can follow hotwords and a dictionary: CTranslate2 computes a whole text in one call, without a hook.
BIASED = ("torch",)
DEFAULT_COMPUTE = {"cpu": "int8", "cuda": "float16"}


@dataclass(frozen=True)
class Decoded:
    """One window's tokens and how sure the model was.

    Attributes:
        tokens: without prompt and end token.
        avg_logprob: summed log-probability over tokens and end token, divided by their number (≤ 0).
        no_speech_prob: probability of <|nospeech|> as the first token.
        finished: the end token was reached.
    """

    tokens: tuple[int, ...]
    avg_logprob: float
    no_speech_prob: float
    finished: bool


@dataclass(frozen=True)
class Bias:
    """Which words decoding leans towards, and which it takes for right.

    Attributes:
        hotwords: entries to lean towards.
        spelling: what unknown words cost; in a beam alone, for a word is chosen from those beside it.
    """

    hotwords: HotwordTrie | None = None
    spelling: Spelling | None = None


UNBIASED = Bias()


class Engine(Protocol):
    """A checkpoint in memory, on some hardware.

    Attributes:
        name, device, compute_type: as in `EnginePlan`.
        n_mels: channels of the log-mel spectrogram, 80 or 128.
        batch_size: windows decoded together.
        max_positions: windows decoded together times the encoder positions (20 ms each) of the longest.
        encoder_batch: windows encoded together; 1 where more gain nothing and only delay a cancel.
        ragged: whether windows of one batch may differ in length.
        biases: whether `decode` can follow hotwords and a dictionary.
    """

    name: str
    device: str
    compute_type: str
    n_mels: int
    batch_size: int
    max_positions: int
    encoder_batch: int
    ragged: bool
    biases: bool

    def log_mel(self, samples: np.ndarray) -> np.ndarray:
        """Log-mel spectrogram of a clip, as `shared.audio.features.log_mel` gives it; on the GPU where there is one.

        Args:
            samples: float32 (n_samples,) in [-1, 1] at 16 kHz.

        Returns:
            float32 (n_mels, n_frames), 100 frames a second.
        """

    def encode(self, features: Sequence[np.ndarray]) -> Any:
        """Run the encoder.

        Args:
            features: one window each, log-mel float32 (n_mels, n_frames), n_frames even and ≤ 3000; all of one n_frames
                unless the engine is `ragged`.

        Returns:
            Encoder states of one batch, opaque to the caller.
        """

    def join(self, states: Sequence[Any]) -> Any:
        """Several batches as one.

        Args:
            states: what `encode` gave; of equal n_frames unless the engine is `ragged`.

        Returns:
            Encoder states, in the order given.
        """

    def row(self, states: Any, index: int) -> Any:
        """One window of a batch.

        Args:
            states: what `encode` gave.
            index: of the window, from 0.

        Returns:
            Encoder states of a batch of one.
        """

    def detect_language(self, states: Any) -> list[dict[str, float]]:
        """Which language is spoken; multilingual checkpoints only.

        Args:
            states: what `encode` gave.

        Returns:
            For each window the probability of each language code, 0 … 1.
        """

    def decode(
        self, states: Any, prompt: Sequence[int], *, beam_size: int, max_tokens: int, no_repeat_ngram: int = 0,
        bias: Bias = UNBIASED, cancel: threading.Event | None = None,
    ) -> list[Decoded]:
        """Decode every window from the same prompt. Timestamp rules apply unless the prompt forbids timestamps.

        Nothing is sampled, so the same call gives the same tokens.

        Args:
            states: what `encode` gave.
            prompt: token ids, from the earlier text to the start tokens.
            beam_size: 1 is greedy search.
            max_tokens: to decode at most in one window.
            no_repeat_ngram: forbid any so many tokens twice (0: allow).
            bias: words to lean towards and words that are right; only where the engine `biases`.
            cancel: set from another thread, ends it within a step.

        Returns:
            One for each window, in order.

        Raises:
            Cancelled: `cancel` was set.
        """

    def align(
        self, states: Any, row: int, prompt: Sequence[int], tokens: Sequence[int], n_frames: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Text tokens of one window against its frames, by cross-attention and dynamic time warping.

        Args:
            states: what `encode` gave.
            row: the window, from 0.
            prompt: the start tokens before <|notimestamps|>.
            tokens: text tokens, without timestamps.
            n_frames: log-mel frames that hold sound.

        Returns:
            (token index, seconds) along the path, each (n_steps,), and the probability of each token (n_tokens,).
        """


@dataclass(frozen=True)
class EnginePlan:
    """Which engine, where, with which numbers, from which folder; nothing of it is in memory yet.

    Attributes:
        name: "torch" or "ctranslate2".
        device: "cpu" or "cuda".
        compute_type: one of `shared.options.COMPUTE_TYPES`.
        folder: the checkpoint, in the form the engine reads.
    """

    name: str
    device: str
    compute_type: str
    folder: Path

    def open(self) -> Engine:
        """The engine, in memory.

        Raises:
            UserError: weights it cannot read, or a compute type there is not.
        """
        if self.name == "ctranslate2":
            from shared.engines.ctranslate2_engine import CTranslate2Engine

            return CTranslate2Engine(self.folder, device=self.device, compute_type=self.compute_type)
        from shared.engines.torch_engine import TorchEngine

        return TorchEngine(self.folder, device=self.device, compute_type=self.compute_type)


def plan_engine(name: str, device: str, compute_type: str, folder_of: Callable[[Form], Path]) -> EnginePlan:
    """Choose the engine for a checkpoint; nothing is loaded.

    A checkpoint that comes in CTranslate2's form only is opened by CTranslate2.

    Args:
        name: "auto", "torch" or "ctranslate2"; what auto is follows from the hardware (`hardware` states the rule).
        device: "auto", "cpu" or "cuda".
        compute_type: "auto" or one of `shared.options.COMPUTE_TYPES`.
        folder_of: gives the checkpoint's folder in the form asked for.

    Returns:
        What `EnginePlan.open` opens.

    Raises:
        UserError: there is no such engine or no such device here.
    """
    if name not in ENGINES:
        raise UserError("There is no such engine", got=name, limit=", ".join(ENGINES), hint="choose one of those")
    if device == "auto":
        device = "cuda" if has_gpu() else "cpu"
    if device == "cuda" and not has_gpu():
        raise UserError("There is no GPU that can be used", got="device cuda", hint="choose the device cpu")
    folder = None
    if name == "auto":
        name = "torch" if device == "cuda" or has_avx2() else "ctranslate2"
        try:
            folder = folder_of(FORMS[name])
        except OtherForm:
            name = "ctranslate2"
    if compute_type == "auto":
        compute_type = DEFAULT_COMPUTE[device]
    return EnginePlan(name, device, compute_type, folder or folder_of(FORMS[name]))
