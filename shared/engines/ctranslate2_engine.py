"""Whisper on CTranslate2: int8 on a CPU, float16 on one's own GPU.

The door to the `ctranslate2` package. Reads a folder in CTranslate2's form (model.bin, config.json, vocabulary).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path

import ctranslate2
import numpy as np

from shared.audio.features import log_mel
from shared.engines.engine import UNBIASED, Bias, Decoded
from shared.errors import Cancelled, UserError
from shared.whisper_constants import POSITION_SECONDS


class CTranslate2Engine:
    name = "ctranslate2"
    ragged = biases = False

    def __init__(self, folder: Path, *, device: str = "cpu", compute_type: str = "int8") -> None:
        try:
            self._model = ctranslate2.models.Whisper(
                str(folder), device=device, compute_type=compute_type, flash_attention=False,
                intra_threads=int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1),
            )
        except (RuntimeError, ValueError) as error:
            raise UserError("The checkpoint cannot be opened by CTranslate2", got=str(error).strip()[:200],
                            hint="fetch or convert it again, or choose the engine torch") from error
        self.device, self.compute_type = device, compute_type
        self.n_mels = self._model.n_mels
        # On a CPU four full windows of whisper-base decode at the best rate, and sixteen short ones.
        self.batch_size, self.max_positions = 16, 6000 if device == "cpu" else 24000
        self.encoder_batch = 1 if device == "cpu" else 16

    def log_mel(self, samples: np.ndarray) -> np.ndarray:
        return log_mel(samples, self.n_mels)

    def encode(self, features: Sequence[np.ndarray]) -> ctranslate2.StorageView:
        view = ctranslate2.StorageView.from_array(np.stack(features).astype(np.float32, copy=False))
        return self._model.encode(view, to_cpu=self.device == "cpu")

    def join(self, states: Sequence[ctranslate2.StorageView]) -> ctranslate2.StorageView:
        if len(states) == 1:
            return states[0]
        return ctranslate2.StorageView.from_array(np.concatenate([np.asarray(state) for state in states]))

    def row(self, states: ctranslate2.StorageView, index: int) -> ctranslate2.StorageView:
        if states.shape[0] == 1:
            return states
        return ctranslate2.StorageView.from_array(np.asarray(states)[index : index + 1])

    def detect_language(self, states: ctranslate2.StorageView) -> list[dict[str, float]]:
        return [{token.strip("<|>"): probability for token, probability in row}
                for row in self._model.detect_language(states)]

    def decode(
        self, states: ctranslate2.StorageView, prompt: Sequence[int], *, beam_size: int, max_tokens: int,
        no_repeat_ngram: int = 0, bias: Bias = UNBIASED, cancel: threading.Event | None = None,
    ) -> list[Decoded]:
        assert bias == UNBIASED, "Transcriber.check refuses it"
        if cancel is not None and cancel.is_set():
            raise Cancelled
        results = self._model.generate(
            states,
            [list(prompt)] * states.shape[0],
            beam_size=beam_size,
            # CTranslate2 generates at most min(max_length / 2, max_length - prompt) tokens.
            max_length=max(2 * max_tokens, max_tokens + len(prompt)),
            no_repeat_ngram_size=no_repeat_ngram,
            return_scores=True,
            return_no_speech_prob=True,
        )
        return [_decoded(result, max_tokens) for result in results]

    def align(
        self, states: ctranslate2.StorageView, row: int, prompt: Sequence[int], tokens: Sequence[int], n_frames: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        result = self._model.align(self.row(states, row), list(prompt), [list(tokens)], n_frames)[0]
        path = np.array(result.alignments, dtype=np.int64).reshape(-1, 2)
        return path[:, 0], path[:, 1] * POSITION_SECONDS, np.array(result.text_token_probs, dtype=np.float32)


def _decoded(result: ctranslate2.models.WhisperGenerationResult, max_tokens: int) -> Decoded:
    tokens = tuple(result.sequences_ids[0])
    # The score is the mean over the tokens without the end token; Whisper's own avg_logprob counts that one too.
    total = result.scores[0] * max(len(tokens), 1)
    return Decoded(tokens, total / (len(tokens) + 1), result.no_speech_prob, finished=len(tokens) < max_tokens)
