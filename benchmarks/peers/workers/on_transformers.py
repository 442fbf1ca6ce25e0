"""transformers' speech recognition pipeline in float32, chunked where the audio is long.

https://huggingface.co/docs/transformers/main_classes/pipelines
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from protocol import SAMPLE_RATE, Program, serve
from transformers import pipeline

WINDOW_SECONDS = 30
BATCH_SIZE = 8


class Transformers(Program):
    packages = ("transformers", "torch")

    def __init__(self, model: str, options: dict) -> None:
        torch.set_num_threads(options["threads"])
        self._pipeline = pipeline("automatic-speech-recognition", model=model, device="cpu", dtype=torch.float32)
        if self._pipeline.tokenizer.pad_token is None:  # batching wants one; the Hub's whisper-base names this
            self._pipeline.tokenizer.pad_token = self._pipeline.tokenizer.eos_token

    def one(self, audio: np.ndarray, language: str, words: bool) -> Iterator[str]:
        chunked = {"chunk_length_s": WINDOW_SECONDS, "batch_size": BATCH_SIZE}
        how = chunked if len(audio) > WINDOW_SECONDS * SAMPLE_RATE else {}
        yield self._pipeline(audio, generate_kwargs={"language": language, "task": "transcribe"}, **how)["text"]

    def many(self, clips: list[np.ndarray], language: str) -> list[str]:
        recognised = self._pipeline(clips, batch_size=BATCH_SIZE,
                                    generate_kwargs={"language": language, "task": "transcribe"})
        return [clip["text"] for clip in recognised]


serve(Transformers)
