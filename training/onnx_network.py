"""Whisper's network in the two parts that ONNX gets: log-mel to cross-attention, and one step of the decoder.

Enters: a folder in transformers' form. Leaves: two torch modules for one clip (no batch) whose inputs may have any
length. Written for a browser, where each call copies its inputs and outputs: a step of the decoder returns only the
keys and values of its own tokens, and the caller lays them behind the others.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import cast

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from shared.checkpoint import check_finite, weight_files

ENCODER_IN = ("features",)
ENCODER_OUT = ("cross_keys", "cross_values")
DECODER_IN = ("ids", "past_keys", "past_values", *ENCODER_OUT)
DECODER_OUT = ("logits", "new_keys", "new_values")


class Weights:
    """The tensors of a checkpoint in float32, by transformers' names, and the shape of its network.

    Raises UserError for weights that are missing or no numbers.
    """

    def __init__(self, folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8-sig"))
        self.n_mels, self.d_model = config["num_mel_bins"], config["d_model"]
        self.encoder_layers, self.decoder_layers = config["encoder_layers"], config["decoder_layers"]
        self.encoder_heads, self.decoder_heads = config["encoder_attention_heads"], config["decoder_attention_heads"]
        self.tied = config.get("tie_word_embeddings", True)
        self._tensors = {}
        for path in weight_files(folder):
            for name, tensor in load_file(path).items():
                check_finite(name, tensor)
                self._tensors[name.removeprefix("model.")] = tensor

    def get(self, name: str) -> Tensor:
        return self._tensors[name].float()

    def bias(self, name: str) -> Tensor | None:
        """Whisper's keys have none."""
        return self.get(f"{name}.bias") if f"{name}.bias" in self._tensors else None


class Dense(nn.Module):
    """x (n, n_in) @ weight (n_in, n_out) + bias. Laid out as ONNX's MatMul wants it, so that it can be quantised."""

    def __init__(self, weights: Weights, *names: str) -> None:
        """names: layers that read the same input, as one."""
        super().__init__()
        parts = [weights.get(f"{name}.weight") for name in names]
        biases = [weights.bias(name) for name in names]
        self.weight = nn.Parameter(torch.cat(parts).T.contiguous())
        self.bias = nn.Parameter(torch.cat([torch.zeros(len(part)) if bias is None else bias
                                            for part, bias in zip(parts, biases, strict=True)]))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight + self.bias


class Norm(nn.Module):
    def __init__(self, weights: Weights, name: str) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(weights.get(f"{name}.weight")), nn.Parameter(weights.get(f"{name}.bias"))

    def forward(self, x: Tensor) -> Tensor:
        return functional.layer_norm(x, self.weight.shape, self.weight, self.bias)


class Layer(nn.Module):
    """What a layer of the encoder and one of the decoder have in common."""

    def __init__(self, weights: Weights, name: str, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.norm = Norm(weights, f"{name}.self_attn_layer_norm")
        self.ffn_norm = Norm(weights, f"{name}.final_layer_norm")
        self.qkv = Dense(weights, *(f"{name}.self_attn.{x}_proj" for x in "qkv"))
        self.out = Dense(weights, f"{name}.self_attn.out_proj")
        self.up, self.down = Dense(weights, f"{name}.fc1"), Dense(weights, f"{name}.fc2")

    def feed_forward(self, x: Tensor) -> Tensor:
        return x + self.down(functional.gelu(self.up(self.ffn_norm(x))))


def _heads(x: Tensor, n_heads: int) -> Tensor:
    """(n, d_model) -> (n_heads, n, head size)."""
    return x.unflatten(-1, (n_heads, -1)).transpose(0, 1)


def _joined(x: Tensor) -> Tensor:
    """(n_heads, n, head size) -> (n, d_model)."""
    return x.transpose(0, 1).flatten(1)


def _attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """q: (n_heads, n, head size). k: (n_heads, head size, n_keys). v: (n_heads, n_keys, head size). -> (n, d_model)."""
    scores = (q * q.shape[-1] ** -0.5) @ k
    return _joined((scores if mask is None else scores + mask).softmax(-1) @ v)


class Encoder(nn.Module):
    """features (n_mels, n_frames), n_frames even and at most 3000 -> what each decoder layer reads of them.

    cross_keys: (decoder layers, n_heads, head size, n_positions). cross_values: (…, n_positions, head size).
    A shorter input takes the first of the positions, as in `shared.engines.torch_model`.
    """

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self.conv = nn.ParameterList([nn.Parameter(weights.get(f"encoder.conv{i}.{kind}"))
                                      for i in (1, 2) for kind in ("weight", "bias")])
        self.positions = nn.Parameter(weights.get("encoder.embed_positions.weight"))
        self.layers = nn.ModuleList([Layer(weights, f"encoder.layers.{i}", weights.encoder_heads)
                                     for i in range(weights.encoder_layers)])
        self.norm, self.n_heads = Norm(weights, "encoder.layer_norm"), weights.decoder_heads
        self.cross = nn.ModuleList([Dense(weights, *(f"decoder.layers.{i}.encoder_attn.{x}_proj" for x in "kv"))
                                    for i in range(weights.decoder_layers)])

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        x = functional.gelu(functional.conv1d(features[None], self.conv[0], self.conv[1], padding=1))
        x = functional.gelu(functional.conv1d(x, self.conv[2], self.conv[3], stride=2, padding=1))[0].T
        x = x + self.positions[: x.shape[0]]
        for layer in cast(Iterable[Layer], self.layers):
            q, k, v = (_heads(part, layer.n_heads) for part in layer.qkv(layer.norm(x)).chunk(3, dim=-1))
            x = layer.feed_forward(x + layer.out(_attend(q, k.transpose(1, 2), v)))
        x = self.norm(x)
        pairs = [cross(x).chunk(2, dim=-1) for cross in self.cross]
        return (torch.stack([_heads(k, self.n_heads).transpose(1, 2) for k, _ in pairs]),
                torch.stack([_heads(v, self.n_heads) for _, v in pairs]))


class DecoderLayer(Layer):
    def __init__(self, weights: Weights, name: str, n_heads: int) -> None:
        super().__init__(weights, name, n_heads)
        self.cross_norm = Norm(weights, f"{name}.encoder_attn_layer_norm")
        self.cross_q = Dense(weights, f"{name}.encoder_attn.q_proj")
        self.cross_out = Dense(weights, f"{name}.encoder_attn.out_proj")


class Decoder(nn.Module):
    """The next tokens ids (n,) -> logits (n_vocabulary,) behind the last of them.

    past_keys, past_values: (n_past, layers, n_heads, head size); new_keys, new_values: the same of the n tokens, to be
    laid behind them. cross_*: what the encoder gave.
    """

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        # One table for both ends: looked up by column, multiplied by row.
        self.table = nn.Parameter(weights.get("decoder.embed_tokens.weight").T.contiguous())
        self.vocabulary = None if weights.tied else nn.Parameter(weights.get("proj_out.weight").T.contiguous())
        self.positions = nn.Parameter(weights.get("decoder.embed_positions.weight"))
        self.layers = nn.ModuleList([DecoderLayer(weights, f"decoder.layers.{i}", weights.decoder_heads)
                                     for i in range(weights.decoder_layers)])
        self.norm = Norm(weights, "decoder.layer_norm")

    def forward(self, ids: Tensor, past_keys: Tensor, past_values: Tensor, cross_keys: Tensor, cross_values: Tensor
                ) -> tuple[Tensor, Tensor, Tensor]:
        n_past, n = past_keys.shape[0], ids.shape[0]
        at = torch.arange(n) + n_past
        x = torch.index_select(self.table, 1, ids).T + torch.index_select(self.positions, 0, at)
        mask = torch.where(torch.arange(n_past + n)[None, :] <= at[:, None], 0.0, -10000.0)
        new_keys, new_values = [], []
        for i, layer in enumerate(cast(Iterable[DecoderLayer], self.layers)):
            q, k, v = (part.unflatten(-1, (layer.n_heads, -1)) for part in layer.qkv(layer.norm(x)).chunk(3, dim=-1))
            new_keys.append(k)
            new_values.append(v)
            k = torch.cat([past_keys[:, i], k])  # (n_past + n, n_heads, head size)
            v = torch.cat([past_values[:, i], v])
            x = x + layer.out(_attend(q.transpose(0, 1), k.permute(1, 2, 0), v.transpose(0, 1), mask))
            q = _heads(layer.cross_q(layer.cross_norm(x)), layer.n_heads)
            x = x + layer.cross_out(_attend(q, cross_keys[i], cross_values[i]))
            x = layer.feed_forward(x)
        last = self.norm(x[-1:])
        logits = last @ (self.table if self.vocabulary is None else self.vocabulary)
        return logits[0], torch.stack(new_keys, dim=1), torch.stack(new_values, dim=1)
