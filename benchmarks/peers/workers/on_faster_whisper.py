"""faster-whisper, one window after the other or batched (https://github.com/SYSTRAN/faster-whisper)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from faster_whisper import BatchedInferencePipeline, WhisperModel
from protocol import SAMPLE_RATE, Program, serve

GAP_SECONDS = 0.5  # between clips joined for the batched pipeline, which takes one array and a list of times
BATCH_SIZE = 8  # the pipeline's default


class FasterWhisper(Program):
    packages = ("faster-whisper", "ctranslate2", "onnxruntime")

    def __init__(self, model: str, options: dict) -> None:
        self._model = WhisperModel(model, device="cpu", compute_type=options["compute_type"],
                                   cpu_threads=options["threads"])
        self._batched = BatchedInferencePipeline(self._model) if options["batched"] else None
        self._beam_size = options["beam_size"]
        if self._batched is not None:
            self.many = self._many

    def one(self, audio: np.ndarray, language: str, words: bool) -> Iterator[str]:
        how = {"language": language, "beam_size": self._beam_size, "word_timestamps": words}
        if self._batched is None:
            segments, _ = self._model.transcribe(audio, **how)
        else:
            segments, _ = self._batched.transcribe(audio, batch_size=BATCH_SIZE, **how)
        for segment in segments:
            yield segment.text

    def _many(self, clips: list[np.ndarray], language: str) -> list[str]:
        gap = np.zeros(int(GAP_SECONDS * SAMPLE_RATE), np.float32)
        times, at = [], 0
        for clip in clips:
            times.append({"start": at / SAMPLE_RATE, "end": (at + len(clip)) / SAMPLE_RATE})
            at += len(clip) + len(gap)
        joined = np.concatenate([part for clip in clips for part in (clip, gap)])
        assert self._batched is not None
        segments, _ = self._batched.transcribe(joined, language=language, beam_size=self._beam_size, vad_filter=False,
                                               clip_timestamps=times, batch_size=BATCH_SIZE)
        texts = [""] * len(clips)
        starts = np.array([time["start"] for time in times]) - GAP_SECONDS / 2
        for segment in segments:
            texts[int(np.searchsorted(starts, segment.start, side="right")) - 1] += segment.text
        return texts


serve(FasterWhisper)
