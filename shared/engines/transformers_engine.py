"""Whisper on transformers and torch: any GPU, ZeroGPU, any CPU.

The door to PyTorch inference. Reads a folder in transformers' form (config.json, model.safetensors). Decoding is
transformers' `generate`; the encoder is called layer by layer because the stock one refuses less than 30 s.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional
from transformers import GenerationConfig, WhisperForConditionalGeneration
from transformers.generation import GenerationMixin
from transformers.generation.logits_process import (
    LogitsProcessorList,
    SuppressTokensAtBeginLogitsProcessor,
    SuppressTokensLogitsProcessor,
    WhisperTimeStampLogitsProcessor,
)
from transformers.generation.stopping_criteria import StoppingCriteria, StoppingCriteriaList
from transformers.modeling_outputs import BaseModelOutput

from shared.engines import Decoded
from shared.engines.warping import token_path
from shared.errors import Cancelled, UserError
from shared.tokens import tokens_of

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


class TransformersEngine:
    name = "transformers"

    def __init__(self, folder: Path, *, device: str = "cpu", compute_type: str = "float32") -> None:
        if compute_type not in DTYPES:
            raise UserError("The transformers engine does not know this compute type", got=compute_type,
                            limit=", ".join(DTYPES), todo="choose one of those, or the engine ctranslate2")
        try:
            self._model = WhisperForConditionalGeneration.from_pretrained(
                folder, dtype=DTYPES[compute_type], use_safetensors=True, local_files_only=True
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise UserError("The checkpoint cannot be opened by transformers", got=str(error).strip()[:200],
                            todo="fetch it again") from error
        self._model.eval().to(device)
        self.device, self.compute_type = device, compute_type
        self.n_mels = self._model.config.num_mel_bins
        self.batch_size, self.encoder_batch = (4, 1) if device == "cpu" else (16, 16)
        self._ids = tokens_of(folder)
        self._said = self._model.generation_config  # the checkpoint's own: suppressed tokens, alignment heads
        # `generate` fills gaps from the model's own configuration, which must not bring rules of its own.
        self._model.generation_config = GenerationConfig(max_length=None)

    @torch.inference_mode()
    def encode(self, features: np.ndarray) -> torch.Tensor:
        """(batch, n_mels, n_frames) → (batch, n_frames / 2, d_model)."""
        x = torch.from_numpy(np.ascontiguousarray(features, dtype=np.float32))
        return run_encoder(self._model.model.encoder, x.to(self.device, self._model.dtype))

    def join(self, states: Sequence[torch.Tensor]) -> torch.Tensor:
        return torch.cat(list(states))

    def row(self, states: torch.Tensor, index: int) -> torch.Tensor:
        return states[index : index + 1]

    @torch.inference_mode()
    def detect_language(self, states: torch.Tensor) -> list[dict[str, float]]:
        ids = self._ids.languages
        start = torch.full((len(states), 1), self._ids.start, device=states.device)
        logits = self._logits(start, states)[:, 0, list(ids.values())]
        return [dict(zip(ids, row.tolist(), strict=True)) for row in logits.softmax(-1)]

    @torch.inference_mode()
    def decode(
        self, states: torch.Tensor, prompt: Sequence[int], *, beam_size: int, max_tokens: int,
        no_repeat_ngram: int = 0, cancel: threading.Event | None = None,
    ) -> list[Decoded]:
        prompts = torch.tensor([list(prompt)] * len(states), device=states.device)
        config = GenerationConfig(
            num_beams=beam_size, do_sample=False, max_new_tokens=max_tokens, no_repeat_ngram_size=no_repeat_ngram,
            eos_token_id=self._ids.end, pad_token_id=self._ids.end, decoder_start_token_id=self._ids.start,
            use_cache=True,
        )
        sequences = GenerationMixin.generate(
            self._model, encoder_outputs=BaseModelOutput(last_hidden_state=states), decoder_input_ids=prompts,
            attention_mask=None, generation_config=config, logits_processor=self._rules(prompt),
            stopping_criteria=StoppingCriteriaList([_Stop(cancel)]),
        )
        if cancel is not None and cancel.is_set():
            raise Cancelled
        return [self._decoded(states[row : row + 1], prompt, sequence[len(prompt) :].tolist())
                for row, sequence in enumerate(sequences)]

    def _rules(self, prompt: Sequence[int]) -> LogitsProcessorList:
        """Suppressed tokens and timestamp grammar, as the checkpoint's generation config states them."""
        begin, rules = len(prompt), LogitsProcessorList()
        ids = self._ids
        never = [*(self._said.suppress_tokens or ids.non_speech), *range(ids.start, ids.first_stamp)]
        rules.append(SuppressTokensLogitsProcessor(never, device=self.device))
        at_first = self._said.begin_suppress_tokens or [*ids.encode(" "), ids.end]
        rules.append(SuppressTokensAtBeginLogitsProcessor(at_first, begin, device=self.device))
        if self._ids.no_timestamps not in prompt:
            grammar = GenerationConfig(no_timestamps_token_id=self._ids.no_timestamps, eos_token_id=self._ids.end,
                                       max_initial_timestamp_index=50)  # 1 s, as in Whisper's reference decoder
            rules.append(WhisperTimeStampLogitsProcessor(grammar, begin_index=begin))
        return rules

    def _decoded(self, states: torch.Tensor, prompt: Sequence[int], ids: list[int]) -> Decoded:
        """Judge one row by a single teacher-forced pass: cheaper in memory than keeping every step's logits."""
        end = self._ids.end
        finished = end in ids
        tokens = ids[: ids.index(end)] if finished else ids
        whole = torch.tensor([[*prompt, *tokens]], device=states.device)
        log_probs = self._logits(whole, states)[0].log_softmax(-1)  # (n_tokens, n_vocabulary)
        at = len(prompt) - 1
        targets = torch.tensor([*tokens, end], device=states.device)
        chosen = log_probs[at : at + len(targets)].gather(1, targets[:, None])
        start = list(prompt).index(self._ids.start)
        no_speech = float(log_probs[start, self._ids.no_speech].exp())
        return Decoded(tuple(tokens), float(chosen.mean()), no_speech, finished)

    def _logits(self, ids: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        hidden = self._model.model.decoder(input_ids=ids, encoder_hidden_states=states, use_cache=False)
        return self._model.proj_out(hidden.last_hidden_state).float()

    @torch.inference_mode()
    def align(
        self, states: torch.Tensor, row: int, prompt: Sequence[int], tokens: Sequence[int], n_frames: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        end = self._ids.end
        ids = torch.tensor([[*prompt, self._ids.no_timestamps, *tokens, end]], device=states.device)
        self._model.set_attn_implementation("eager")  # the fused kernels do not give their attention away
        try:
            out = self._model.model.decoder(input_ids=ids, encoder_hidden_states=states[row : row + 1],
                                            output_attentions=True, use_cache=False)
        finally:
            self._model.set_attn_implementation("sdpa")
        heads = torch.stack([out.cross_attentions[layer][0, head] for layer, head in self._alignment_heads()])
        text, seconds = token_path(heads[:, len(prompt) : -1, : n_frames // 2].float().cpu().numpy())
        probabilities = self._model.proj_out(out.last_hidden_state[0]).float().softmax(-1)
        targets = torch.tensor(list(tokens), device=states.device)
        at = torch.arange(len(prompt), len(prompt) + len(tokens), device=states.device)
        return text, seconds, probabilities[at, targets].cpu().numpy()

    def _alignment_heads(self) -> list[tuple[int, int]]:
        config = self._model.config
        known = getattr(self._said, "alignment_heads", None)
        half = range(config.decoder_layers // 2, config.decoder_layers)
        return known or [(layer, head) for layer in half for head in range(config.decoder_attention_heads)]


def run_encoder(encoder: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Whisper's encoder over any even n_frames ≤ 3000: (batch, n_mels, n_frames) → (batch, n_frames / 2, d_model).

    The positions are sinusoids counted from the start, so a shorter input takes the first of them
    (short clips cost what they last). `encoder` is transformers' WhisperEncoder.
    """
    x = functional.gelu(encoder.conv1(x))
    x = functional.gelu(encoder.conv2(x)).transpose(1, 2)
    x = x + encoder.embed_positions.weight[: x.shape[1]]
    for layer in encoder.layers:
        x = layer(x, None)
        x = x[0] if isinstance(x, tuple) else x
    return encoder.layer_norm(x)


class _Stop(StoppingCriteria):
    """Ends `generate` between two tokens once the caller wants to stop."""

    def __init__(self, cancel: threading.Event | None) -> None:
        self._cancel = cancel

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor, **kwargs) -> torch.BoolTensor:
        stop = self._cancel is not None and self._cancel.is_set()
        return torch.full((len(input_ids),), stop, device=input_ids.device, dtype=torch.bool)
