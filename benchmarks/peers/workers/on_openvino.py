"""OpenVINO GenAI's WhisperPipeline (https://github.com/openvinotoolkit/openvino.genai)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import openvino_genai
from protocol import SAMPLE_RATE, Program, serve

WINDOW_SECONDS = 30  # longer audio needs timestamps, by which the pipeline moves on


class OpenVINO(Program):
    packages = ("openvino-genai", "openvino")

    def __init__(self, model: str, options: dict) -> None:
        self._pipeline = openvino_genai.WhisperPipeline(
            model, "CPU", INFERENCE_PRECISION_HINT=options["precision"], INFERENCE_NUM_THREADS=options["threads"],
            PERFORMANCE_HINT="LATENCY")

    def prepared(self, samples: np.ndarray) -> list[float]:
        return samples.tolist()

    def one(self, audio: list[float], language: str, words: bool) -> Iterator[str]:
        config = self._pipeline.get_generation_config()
        config.language, config.task = f"<|{language}|>", "transcribe"
        config.return_timestamps = len(audio) > WINDOW_SECONDS * SAMPLE_RATE
        yield self._pipeline.generate(audio, config, self._show).texts[0]

    def _show(self, text: str) -> bool:
        self.tell()
        return False  # go on


serve(OpenVINO)
