"""This project's Transcriber, through its public door."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from protocol import SAMPLE_RATE, Program, serve

sys.path.insert(0, str(Path(__file__).parents[3]))

from shared.audio import AudioSource, Waveform
from shared.audio.windows import Window
from shared.checkpoint import Checkpoint
from shared.inference import Transcriber
from shared.options import Options

APART = 100 * SAMPLE_RATE  # on one clock, clips of a batch begin so far from each other: more than any lasts


class Ours(Program):
    packages = ("ctranslate2", "torch", "transformers")

    def __init__(self, model: str, options: dict) -> None:
        os.cpu_count = lambda: options["threads"]  # which is how many threads an engine takes
        torch.set_num_threads(options["threads"])
        self._transcriber = Transcriber(Checkpoint.parse(model), engine=options["engine"], device="cpu",
                                        compute_type=options["compute_type"])
        self._extras = {"speakers": True} if options.get("speakers") else {}

    def prepared(self, samples: np.ndarray) -> Waveform:
        return Waveform(samples)

    def one(self, audio: Waveform, language: str, words: bool) -> Iterator[str]:
        """The first text is there with the first batch of windows, which `progress` reports."""
        transcript = self._transcriber.transcribe(audio, language=language, words=words, progress=self.tell,
                                                  **self._extras)
        yield transcript.text

    def many(self, clips: list[Waveform], language: str) -> list[str]:
        """Clips of like length together, each on its own stretch of one clock."""
        options = Options(language=language)
        parts = []
        for place, clip in enumerate(clips):
            for window in self._transcriber.windows(AudioSource(clip), options):
                pieces = tuple((offset, start + place * APART, n) for offset, start, n in window.pieces)
                parts.append(Window(window.samples, pieces))
        parts.sort(key=lambda window: window.duration)
        texts: list[list] = [[] for _ in clips]
        for _, _, new in self._transcriber.recognise(parts, options, lambda done, reached: len(parts)):
            for segment in new.segments:
                texts[int(segment.start * SAMPLE_RATE) // APART].append(segment)
        return [" ".join(s.text for s in sorted(of, key=lambda s: s.start)) for of in texts]

    def facts(self) -> dict:
        engine, facts = self._transcriber.engine, self._transcriber.facts
        return {"engine": engine.name, "compute_type": engine.compute_type, "short_context": facts.short_context,
                "batch_size": engine.batch_size, "windows": self._transcriber.window_decoder.n_windows,
                "windows_done_again": self._transcriber.window_decoder.n_again}


serve(Ours)
