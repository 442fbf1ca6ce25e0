"""This project's Transcriber, through its public door."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from protocol import Program, serve

sys.path.insert(0, str(Path(__file__).parents[3]))

from shared.audio import Waveform
from shared.checkpoint import Checkpoint
from shared.errors import UserError
from shared.inference import Transcriber


class Ours(Program):
    packages = ("ctranslate2", "torch", "transformers")

    def __init__(self, model: str, options: dict) -> None:
        os.cpu_count = lambda: options["threads"]  # which is how many threads an engine takes
        torch.set_num_threads(options["threads"])
        self._transcriber = Transcriber(Checkpoint.parse(model), engine=options["engine"], device="cpu",
                                        compute_type=options["compute_type"])
        self._speakers = bool(options.get("speakers"))

    def prepared(self, samples: np.ndarray) -> Waveform:
        return Waveform(samples)

    def one(self, audio: Waveform, language: str, words: bool) -> Iterator[str]:
        """The first text is there with the first batch of windows, which `progress` reports."""
        transcript = self._transcriber.transcribe(audio, language=language, words=words, progress=self.tell,
                                                  speakers=self._speakers)
        yield transcript.text

    def many(self, clips: list[Waveform], language: str) -> list[str]:
        """As a person's program gets them; what is decoded together is the module's choice."""
        texts = []
        for found in self._transcriber.transcribe_each(clips, language=language):
            if isinstance(found, UserError):
                raise found
            texts.append(found.text)
        return texts

    def facts(self) -> dict:
        engine, facts = self._transcriber.engine, self._transcriber.facts
        return {"engine": engine.name, "compute_type": engine.compute_type, "short_context": facts.short_context,
                "batch_size": engine.batch_size, "windows": self._transcriber.window_decoder.n_windows,
                "windows_done_again": self._transcriber.window_decoder.n_again}


serve(Ours)
