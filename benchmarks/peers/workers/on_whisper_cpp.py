"""whisper.cpp through pywhispercpp, greedy (https://github.com/absadiki/pywhispercpp)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from protocol import Program, serve
from pywhispercpp.model import Model


class WhisperCpp(Program):
    packages = ("pywhispercpp",)

    def __init__(self, model: str, options: dict) -> None:
        self._model = Model(model, n_threads=options["threads"], print_progress=False, print_realtime=False,
                            print_timestamps=False)

    def one(self, audio: np.ndarray, language: str, words: bool) -> Iterator[str]:
        segments = self._model.transcribe(audio, language=language, new_segment_callback=self.tell)
        yield " ".join(segment.text.strip() for segment in segments)


serve(WhisperCpp)
