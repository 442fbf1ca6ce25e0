"""Whisper's network on plain torch: weights in, encoder states, cross-attention keys and logits out.

Enters: a folder in transformers' form (config.json, model*.safetensors). Knows nothing of prompts, rules or search.
Written out here, not called from transformers, because serving needs three things that one does not give: an encoder
of any length, 8-bit linear layers on a CPU, and a decoder step without its overhead (figures: docs/inference.md).

Network after Radford et al. 2022 (arXiv 2212.04356); names of the tensors as transformers saves them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from shared.checkpoint import check_finite, weight_files
from shared.engines.linear import Linear
from shared.system.hardware import has_bfloat16

Heads = Sequence[tuple[int, int]]  # (layer, head)

# On a CPU, attention over so many positions is bound by memory or by float32 products; bfloat16 halves both.
MANY_POSITIONS = 800  # of keys in a decoder step (batch × positions), or of queries in the encoder
MOST_THREADS = 4  # that open a checkpoint
CHUNK = 192  # queries at a time, so that their weights stay in the cache: 1.4 × torch's own kernel at 1500 positions


@dataclass(frozen=True, eq=False)
class Norm:
    """Layer norm over the last axis. weight, bias: (d_model,)."""

    weight: Tensor
    bias: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return functional.layer_norm(x, self.weight.shape, self.weight, self.bias)


@dataclass(frozen=True)
class States:
    """What the encoder made of a batch. hidden: (batch, n_positions, d_model), rows filled with zeros behind their
    own length. lengths: positions of each row (one for each 20 ms)."""

    hidden: Tensor
    lengths: tuple[int, ...]


@dataclass(frozen=True)
class Shared:
    """Rows of a batch that read the same clips. clip, place: (n_rows,), the clip of each row and its place among those
    of that clip. n_places: of the clip with most rows."""

    clip: Tensor
    place: Tensor
    n_clips: int
    n_places: int

    def gather(self, q: Tensor) -> Tensor:
        """(n_rows, n_heads, 1, head size) → (n_clips, n_heads, n_places, head size)."""
        gathered = q.new_zeros((self.n_clips, q.shape[1], self.n_places, q.shape[3]))
        gathered[self.clip, :, self.place] = q[:, :, 0]
        return gathered

    def scatter(self, attended: Tensor) -> Tensor:
        """The way back."""
        return attended[self.clip, :, self.place][:, :, None]


@dataclass
class Memory:
    """What the decoder keeps of a batch between two steps, layer by layer; rows can be picked and repeated.

    keys, values: (batch, n_heads, n_positions, head size) of the encoder's states. mask: 0 or -inf,
    (batch, 1, 1, n_positions), None if all rows are of one length. past_*: (batch, n_heads, n_room, head size).
    shared: where several rows belong to one clip, so that its encoder states are kept once.
    """

    keys: list[Tensor]
    values: list[Tensor]
    mask: Tensor | None
    past_keys: list[Tensor]
    past_values: list[Tensor]
    n_past: int = 0
    shared: Shared | None = None

    def pick(self, rows: Tensor, *, encoder: bool = True) -> None:
        """Keep these rows, in this order. encoder=False: the rows still belong to the same audio (beams)."""
        held = slice(0, self.n_past)
        is_same = len(rows) == len(self.past_keys[0])
        moved = torch.nonzero(rows != torch.arange(len(rows), device=rows.device)).flatten() if is_same else None
        for kept in (self.past_keys, self.past_values):
            for layer, tensor in enumerate(kept):
                if moved is not None:
                    tensor[moved, :, held] = tensor[rows[moved], :, held]
                    continue
                picked = tensor[rows, :, held]
                kept[layer] = tensor.new_empty((len(rows), *tensor.shape[1:]))
                kept[layer][:, :, held] = picked
        if encoder:
            self.pick_clips(rows)

    def pick_clips(self, clips: Tensor) -> None:
        """Keep the encoder states of these clips, in this order."""
        self.keys, self.values = [k[clips] for k in self.keys], [v[clips] for v in self.values]
        self.mask = None if self.mask is None else self.mask[clips]

    def share(self, clips: Sequence[int]) -> None:
        """clips: for each row the clip that it belongs to, as many rows for one as there are."""
        n_before = [0] * len(self.keys[0])
        places = []
        for clip in clips:
            places.append(n_before[clip])
            n_before[clip] += 1
        device = self.keys[0].device
        self.shared = None if list(clips) == list(range(len(n_before))) else Shared(
            torch.tensor(clips, device=device), torch.tensor(places, device=device), len(n_before), max(n_before))


class WhisperNetwork:
    """The weights of one checkpoint on one device."""

    def __init__(self, folder: Path, device: str, compute_type: str, tensors: Mapping[str, Tensor] | None = None
                 ) -> None:
        """compute_type: int8 (CPU), float32, float16 or bfloat16. tensors: in place of the folder's. Raises OSError,
        KeyError or ValueError for a folder that holds no such weights."""
        config = json.loads((folder / "config.json").read_text(encoding="utf-8-sig"))
        self.int8 = compute_type == "int8"
        self.dtype = torch.float32 if self.int8 else getattr(torch, compute_type)
        self.device = torch.device(device)
        self.n_mels, self.n_layers = config["num_mel_bins"], config["decoder_layers"]
        self.n_heads = config["decoder_attention_heads"]
        self.encoder_heads = config["encoder_attention_heads"]
        self.d_model, self.n_context = config["d_model"], config["max_target_positions"]
        if tensors is None:
            tensors = {name: tensor for path in weight_files(folder)
                       for name, tensor in load_file(path).items()}
            for name, tensor in tensors.items():
                check_finite(name, tensor)
        self._tensors = {name.removeprefix("model."): tensor for name, tensor in tensors.items()}
        # Packing 8-bit weights is most of opening, and each layer's takes one thread.
        with ThreadPoolExecutor(min(torch.get_num_threads(), MOST_THREADS) if self.int8 else 1) as pool:
            self._read(config, pool)
        del self._tensors

    def _read(self, config: Mapping[str, Any], pool: Executor) -> None:
        """Every layer from the tensors."""
        self.embedding = self._get("decoder.embed_tokens.weight")
        tied = config.get("tie_word_embeddings", True)  # as in every stock Whisper; an adapter may have parted them
        vocabulary = pool.submit(lambda: Linear(self.embedding if tied else self._get("proj_out.weight"), None,
                                                self.int8))
        encoder = pool.map(self._encoder_layer, [f"encoder.layers.{i}" for i in range(config["encoder_layers"])])
        decoder = pool.map(self._decoder_layer, [f"decoder.layers.{i}" for i in range(self.n_layers)])
        self.conv = [(self._get(f"encoder.conv{i}.weight"), self._get(f"encoder.conv{i}.bias")) for i in (1, 2)]
        self.encoder_positions = self._get("encoder.embed_positions.weight")
        self.encoder_norm = self._norm("encoder.layer_norm")
        self.positions = self._get("decoder.embed_positions.weight")
        self.decoder_norm = self._norm("decoder.layer_norm")
        self.encoder, self.decoder, self.vocabulary = list(encoder), list(decoder), vocabulary.result()

    def encode(self, features: Tensor) -> Tensor:
        """Log-mel (batch, n_mels, n_frames), n_frames even and ≤ 3000 → (batch, n_frames / 2, d_model).

        The positions are sinusoids counted from the start, so a shorter input takes the first of them.
        """
        x = features.to(self.device, self.dtype)
        x = functional.gelu(functional.conv1d(x, *self.conv[0], padding=1))
        x = functional.gelu(functional.conv1d(x, *self.conv[1], stride=2, padding=1)).transpose(1, 2)
        x = x + self.encoder_positions[: x.shape[1]]
        for layer in self.encoder:
            q, k, v = self._split(layer["qkv"](layer["norm"](x)), 3, self.encoder_heads)
            x = x + layer["out"](self._joined(self._attend(q, k, v)))
            x = x + layer["down"](functional.gelu(layer["up"](layer["ffn_norm"](x))))
        return self.encoder_norm(x)

    def memory(self, states: States, n_room: int) -> Memory:
        """What decoding these states needs; n_room: tokens it may come to."""
        hidden, n_rows = states.hidden, len(states.lengths)
        pairs = [self._split(layer["cross_kv"](hidden), 2, self.n_heads) for layer in self.decoder]
        dtype = torch.bfloat16 if self._narrow(n_rows * hidden.shape[1]) else self.dtype
        mask = None
        if len(set(states.lengths)) > 1:
            lengths = torch.tensor(states.lengths, device=self.device)
            over = torch.arange(hidden.shape[1], device=self.device) >= lengths[:, None]
            mask = torch.zeros(over.shape, device=self.device, dtype=dtype).masked_fill_(over, -torch.inf)
            mask = mask[:, None, None]
        shape = (n_rows, self.n_heads, min(n_room, self.n_context), self.d_model // self.n_heads)
        past_keys, past_values = ([torch.empty(shape, device=self.device, dtype=self.dtype) for _ in self.decoder]
                                  for _ in range(2))
        keys, values = ([x.to(dtype, memory_format=torch.contiguous_format) for x in kind]
                        for kind in zip(*pairs, strict=True))
        return Memory(keys, values, mask, past_keys, past_values)

    def step(self, ids: Tensor, memory: Memory, heads: Heads = ()) -> tuple[Tensor, list[Tensor]]:
        """The next tokens ids (batch, n_tokens) → (batch, n_tokens, d_model), and the cross-attention weights
        (batch, n_tokens, n_positions) of the heads asked for."""
        begin, n_new = memory.n_past, ids.shape[1]
        end = begin + n_new
        x = self.embedding[ids] + self.positions[begin:end]
        x = x.to(self.dtype)
        wanted: dict[int, list[Tensor]] = {}
        for i, layer in enumerate(self.decoder):
            q, k, v = self._split(layer["qkv"](layer["norm"](x)), 3, self.n_heads)
            memory.past_keys[i][:, :, begin:end], memory.past_values[i][:, :, begin:end] = k, v
            k, v = memory.past_keys[i][:, :, :end], memory.past_values[i][:, :, :end]
            # Causal from the start of the sequence only: more than one token is ever added to an empty past.
            attended = functional.scaled_dot_product_attention(q, k, v, is_causal=n_new > 1)
            x = x + layer["out"](self._joined(attended))
            q = self._split(layer["cross_q"](layer["cross_norm"](x)), 1, self.n_heads)[0]
            k, v = memory.keys[i], memory.values[i]
            if memory.shared is not None:
                q = memory.shared.gather(q)
            if any(at == i for at, _ in heads):  # the fused kernel does not give its weights away
                weights = _weights(q.to(k.dtype), k, memory.mask)
                wanted[i], attended = [weights[:, head] for head in range(self.n_heads)], weights @ v
            elif k.dtype != q.dtype:
                attended = _weights(q.to(k.dtype), k, memory.mask) @ v
            else:
                attended = functional.scaled_dot_product_attention(q, k, v, attn_mask=memory.mask)
            if memory.shared is not None:
                attended = memory.shared.scatter(attended)
            x = x + layer["cross_out"](self._joined(attended.to(x.dtype)))
            x = x + layer["down"](functional.gelu(layer["up"](layer["ffn_norm"](x))))
        memory.n_past = end
        return self.decoder_norm(x), [wanted[layer][head] for layer, head in heads]

    def logits(self, hidden: Tensor) -> Tensor:
        """(…, d_model) → float32 (…, n_vocabulary)."""
        return self.vocabulary(hidden).float()

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Self-attention of the encoder."""
        if not self._narrow(q.shape[2]):
            return functional.scaled_dot_product_attention(q, k, v)
        q, k, v = (x.to(torch.bfloat16, memory_format=torch.contiguous_format) for x in (q, k, v))
        attended = torch.empty_like(q)
        for i in range(0, q.shape[2], CHUNK):
            attended[:, :, i : i + CHUNK] = _weights(q[:, :, i : i + CHUNK], k, None) @ v
        return attended.float()

    def _narrow(self, n_positions: int) -> bool:
        return self.int8 and n_positions >= MANY_POSITIONS and has_bfloat16()

    def _encoder_layer(self, name: str) -> dict:
        return {
            "norm": self._norm(f"{name}.self_attn_layer_norm"), "ffn_norm": self._norm(f"{name}.final_layer_norm"),
            "qkv": self._linear(*(f"{name}.self_attn.{x}_proj" for x in "qkv")),
            "out": self._linear(f"{name}.self_attn.out_proj"),
            "up": self._linear(f"{name}.fc1"), "down": self._linear(f"{name}.fc2"),
        }

    def _decoder_layer(self, name: str) -> dict:
        cross = f"{name}.encoder_attn"
        return self._encoder_layer(name) | {
            "cross_norm": self._norm(f"{name}.encoder_attn_layer_norm"), "cross_q": self._linear(f"{cross}.q_proj"),
            "cross_kv": self._linear(f"{cross}.k_proj", f"{cross}.v_proj"),
            "cross_out": self._linear(f"{cross}.out_proj"),
        }

    def _linear(self, *names: str) -> Linear:
        """Layers that read the same input as one. Whisper's keys have no bias."""
        weights = [self._get(f"{name}.weight") for name in names]
        biases = [self._get(f"{name}.bias") if f"{name}.bias" in self._tensors else torch.zeros_like(weight[:, 0])
                  for name, weight in zip(names, weights, strict=True)]
        return Linear(torch.cat(weights), torch.cat(biases), self.int8)

    def _norm(self, name: str) -> Norm:
        return Norm(self._get(f"{name}.weight"), self._get(f"{name}.bias"))

    def _get(self, name: str) -> Tensor:
        return self._tensors[name].to(self.device, self.dtype)

    @staticmethod
    def _split(x: Tensor, n_parts: int, n_heads: int) -> list[Tensor]:
        """(batch, n, n_parts × d_model) → n_parts × (batch, n_heads, n, head size)."""
        batch, n, width = x.shape
        x = x.view(batch, n, n_parts, n_heads, width // n_parts // n_heads).permute(2, 0, 3, 1, 4)
        return list(x)

    @staticmethod
    def _joined(x: Tensor) -> Tensor:
        """(batch, n_heads, n, head size) → (batch, n, d_model)."""
        return x.transpose(1, 2).flatten(2)


def _weights(q: Tensor, k: Tensor, mask: Tensor | None) -> Tensor:
    """Attention weights (batch, n_heads, n_queries, n_keys)."""
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    return (scores if mask is None else scores + mask).softmax(-1)
