"""openai/whisper, the reference implementation, greedy with its own fallback (https://github.com/openai/whisper)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import whisper
from protocol import Program, serve


class OpenAIWhisper(Program):
    packages = ("openai-whisper", "torch")

    def __init__(self, model: str, options: dict) -> None:
        torch.set_num_threads(options["threads"])
        self._model = whisper.load_model(model, device="cpu")

    def one(self, audio: np.ndarray, language: str, words: bool) -> Iterator[str]:
        yield self._model.transcribe(audio, language=language, fp16=False, word_timestamps=words)["text"]


serve(OpenAIWhisper)
