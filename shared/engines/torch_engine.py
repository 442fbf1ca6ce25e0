"""Whisper on torch: 8-bit on a CPU, half precision on a GPU (ZeroGPU too), any length of input.

The door to PyTorch inference. Reads a folder in transformers' form (config.json, model.safetensors).
"""

from __future__ import annotations

import json
import os
import threading
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from shared.audio.features import log_mel
from shared.checkpoint.tokenizer import tokens_of
from shared.engines import torch_features
from shared.engines.cuda_decoding import StaticDecoder
from shared.engines.dtw import token_path
from shared.engines.engine import UNBIASED, Bias, Decoded
from shared.engines.hotword_search import HotwordSearch
from shared.engines.packed_encoder import encode_packed
from shared.engines.spelling import Spelling
from shared.engines.torch_decoding import Rules, beam, greedy
from shared.engines.torch_model import States, WhisperNetwork
from shared.errors import UserError
from shared.whisper_constants import ENCODER_POSITIONS

COMPUTE_TYPES = {"cpu": ("int8", "float32", "bfloat16"), "cuda": ("float16", "bfloat16", "float32")}
MEMORY_BYTES = 300e6  # of cross-attention keys and values in one batch; 8 full windows of whisper-base


class TorchEngine:
    name = "torch"
    ragged = biases = True

    def __init__(self, folder: Path, *, device: str = "cpu", compute_type: str = "int8",
                 tensors: Mapping[str, torch.Tensor] | None = None) -> None:
        """folder: config.json, tokenizer and weights. tensors: weights in place of the folder's, by the same names."""
        if compute_type not in COMPUTE_TYPES[device]:
            raise UserError("The torch engine does not know this compute type", got=f"{compute_type} on {device}",
                            limit=", ".join(COMPUTE_TYPES[device]), hint="choose one of those")
        try:
            self._network = WhisperNetwork(folder, device, compute_type, tensors)
        except (OSError, KeyError, ValueError, RuntimeError) as error:
            raise UserError("The checkpoint cannot be opened", got=str(error).strip()[:200],
                            hint="fetch it again") from error
        self.device, self.compute_type = device, compute_type
        self._static: StaticDecoder | None = None
        # A ZeroGPU process lives for one call: what a graph saves would not pay for making it.
        self._try_static = device == "cuda" and not os.environ.get("SPACES_ZERO_GPU")
        self.n_mels = self._network.n_mels
        self._ids = tokens_of(folder)
        generation = folder / "generation_config.json"
        self._generation = json.loads(generation.read_text(encoding="utf-8-sig")) if generation.is_file() else {}
        self.batch_size, self.encoder_batch = (16, 1) if device == "cpu" else (64, 16)
        size = 2 if compute_type in ("float16", "bfloat16") else 4
        per_position = 2 * self._network.n_layers * self._network.d_model * size
        self.max_positions = max(ENCODER_POSITIONS, int(_memory_bytes(device) / per_position))

    def log_mel(self, samples: np.ndarray) -> np.ndarray:
        if self.device == "cuda":
            return torch_features.log_mel(samples, self.n_mels, self._network.device)
        return log_mel(samples, self.n_mels)

    @torch.inference_mode()
    def encode(self, features: Sequence[np.ndarray]) -> States:
        static = self._static_decoder()
        if static is not None:
            return encode_packed(self._network, features, static.ops)
        if self.device == "cuda" and len({mel.shape for mel in features}) == 1:
            hidden = self._network.encode(torch.from_numpy(np.stack(features)))
            return States(hidden, (hidden.shape[1],) * len(features))
        # One clip fills a CPU; and clips of several lengths stay apart, so that none gets another's padding.
        rows = [self._network.encode(torch.from_numpy(np.ascontiguousarray(mel))[None])[0] for mel in features]
        return _padded(rows)

    def join(self, states: Sequence[States]) -> States:
        return _padded([one.hidden[row, :length] for one in states for row, length in enumerate(one.lengths)])

    def row(self, states: States, index: int) -> States:
        length = states.lengths[index]
        return States(states.hidden[index : index + 1, :length], (length,))

    @torch.inference_mode()
    def detect_language(self, states: States) -> list[dict[str, float]]:
        ids = self._ids.languages
        memory = self._network.memory(states, 1)
        start = torch.full((len(states.lengths), 1), self._ids.start, device=self._network.device)
        hidden, _ = self._network.step(start, memory)
        logits = self._network.logits(hidden[:, 0])[:, list(ids.values())]
        return [dict(zip(ids, row.tolist(), strict=True)) for row in logits.softmax(-1)]

    @torch.inference_mode()
    def decode(
        self, states: States, prompt: Sequence[int], *, beam_size: int, max_tokens: int, no_repeat_ngram: int = 0,
        bias: Bias = UNBIASED, cancel: threading.Event | None = None,
    ) -> list[Decoded]:
        rules = self._rules(no_repeat_ngram, bias.spelling)
        if bias.hotwords is not None:
            plain = self.decode(states, prompt, beam_size=beam_size, max_tokens=max_tokens,
                                no_repeat_ngram=no_repeat_ngram, bias=replace(bias, hotwords=None), cancel=cancel)
            search = HotwordSearch(self._network, rules, bias.hotwords, prompt, max_tokens, cancel)
            return search.run(states, beam_size, plain)
        if beam_size == 1:
            static = None if no_repeat_ngram else self._static_decoder()
            if static is not None:
                return static.greedy(states, prompt, max_tokens, cancel)
            return greedy(self._network, states, prompt, rules, max_tokens, cancel)
        return beam(self._network, states, prompt, rules, max_tokens, beam_size, cancel)

    def _static_decoder(self) -> StaticDecoder | None:
        """None on a CPU, and where its kernels cannot be built: then each step is started operation by operation."""
        if self._static is None and self._try_static:
            try:
                static = StaticDecoder(self._network, self._rules(0))
                static.prepare()
                self._static = static
            except torch.OutOfMemoryError:
                raise
            except Exception as error:  # whatever a compiler on somebody else's machine may raise
                self._try_static = False
                warnings.warn(f"The GPU's own kernels cannot be built, so decoding is slower: {error}", stacklevel=2)
        return self._static

    def _rules(self, no_repeat_ngram: int, spelling: Spelling | None = None) -> Rules:
        """Suppressed tokens as the checkpoint's generation config states them."""
        ids = self._ids
        never = {*(self._generation.get("suppress_tokens") or ids.non_speech), *range(ids.start, ids.first_stamp)}
        at_first = self._generation.get("begin_suppress_tokens") or [*ids.encode(" "), ids.end]
        device = self._network.device
        return Rules(ids, torch.tensor(sorted(never), device=device), torch.tensor(at_first, device=device),
                     no_repeat_ngram, spelling)

    @torch.inference_mode()
    def align(
        self, states: States, row: int, prompt: Sequence[int], tokens: Sequence[int], n_frames: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        one = self.row(states, row)
        ids = [*prompt, self._ids.no_timestamps, *tokens, self._ids.end]
        memory = self._network.memory(one, len(ids))
        given = torch.tensor([ids], device=self._network.device)
        hidden, heads = self._network.step(given, memory, self._alignment_heads())
        weights = torch.stack([head[0, len(prompt) : -1, : n_frames // 2] for head in heads])
        text, seconds = token_path(weights.float().cpu().numpy())
        at = slice(len(prompt), len(prompt) + len(tokens))
        probabilities = self._network.logits(hidden[0, at]).softmax(-1)
        chosen = probabilities.gather(1, torch.tensor(list(tokens), device=self._network.device)[:, None])
        return text, seconds, chosen[:, 0].cpu().numpy()

    def _alignment_heads(self) -> list[tuple[int, int]]:
        """Those the checkpoint names, else all of the upper half, as Whisper's reference does."""
        known = [(layer, head) for layer, head in self._generation.get("alignment_heads") or ()]
        half = range(self._network.n_layers // 2, self._network.n_layers)
        return known or [(layer, head) for layer in half for head in range(self._network.n_heads)]


def _memory_bytes(device: str) -> float:
    """Of cross-attention keys and values in one batch: on a GPU a sixth of what is free once the weights are there."""
    if device == "cpu":
        return MEMORY_BYTES
    if os.environ.get("SPACES_ZERO_GPU"):  # the card is lent later, call by call
        return 8 * MEMORY_BYTES
    return max(MEMORY_BYTES, torch.cuda.mem_get_info()[0] / 6)


def _padded(rows: Sequence[torch.Tensor]) -> States:
    """Rows (n_positions, d_model) of any length as one batch."""
    lengths = tuple(len(row) for row in rows)
    if len(rows) == 1:
        return States(rows[0][None], lengths)
    return States(torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True), lengths)
