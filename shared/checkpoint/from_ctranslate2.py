"""Reads a CTranslate2 Whisper `model.bin` and renames its tensors to those of transformers.

Enters: the file. Leaves: numpy arrays under the names of WhisperForConditionalGeneration. Knows nothing of where
the file lies or what it is used for. Tensors are moved and cut, never computed with: the conversion is exact.

Format: ctranslate2/specs/model_spec.py of CTranslate2 4 (`ModelSpec._serialize`, binary version 6); names:
ctranslate2/specs/whisper_spec.py.
"""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np

from shared.errors import UserError

BINARY_VERSION = 6
DTYPES = (np.float32, np.int8, np.int16, np.int32, np.float16)

# Ours <- CTranslate2's, inside one layer; a fused matrix lists its parts in the order of its rows.
ATTENTION_PARTS = {
    "self_attention/linear_0": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "self_attention/linear_1": ("self_attn.out_proj",),
    "attention/linear_0": ("encoder_attn.q_proj",),
    "attention/linear_1": ("encoder_attn.k_proj", "encoder_attn.v_proj"),
    "attention/linear_2": ("encoder_attn.out_proj",),
    "ffn/linear_0": ("fc1",),
    "ffn/linear_1": ("fc2",),
    "self_attention/layer_norm": ("self_attn_layer_norm",),
    "attention/layer_norm": ("encoder_attn_layer_norm",),
    "ffn/layer_norm": ("final_layer_norm",),
}
LEAVES = {"weight": "weight", "bias": "bias", "gamma": "weight", "beta": "bias"}


def read_model(path: Path) -> dict[str, np.ndarray]:
    """Every variable of a CTranslate2 Whisper model by CTranslate2's name, in the file's own type.

    Raises UserError if the file is another model, another version of the format, or cut off.
    """
    with path.open("rb") as file:
        try:
            version, spec, _, n_variables = _u32(file), _string(file), _u32(file), _u32(file)
            if version != BINARY_VERSION or spec != "WhisperSpec":
                raise UserError("This is not a Whisper model that can be read here", got=f"{spec}, version {version}",
                                limit=f"WhisperSpec, version {BINARY_VERSION}", hint="convert it again")
            return dict(_variable(file) for _ in range(n_variables))
        except (struct.error, UnicodeDecodeError, ValueError) as error:
            raise UserError("The model file is damaged", got=f"{path.name}, {path.stat().st_size} bytes",
                            hint="fetch it again") from error


def to_transformers(variables: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """CTranslate2 variables -> state dict of WhisperForConditionalGeneration, without the tied `proj_out.weight`."""
    state = {
        "model.decoder.embed_tokens.weight": variables["decoder/embeddings/weight"],
        "model.decoder.embed_positions.weight": variables["decoder/position_encodings/encodings"],
        "model.encoder.embed_positions.weight": variables["encoder/position_encodings/encodings"],
    }
    for name, tensor in variables.items():
        side, _, rest = name.partition("/")
        layer = re.fullmatch(r"layer_(\d+)/(.+)/(\w+)", rest)
        outer = re.fullmatch(r"(conv1|conv2|layer_norm)/(\w+)", rest)
        if layer:
            parts = ATTENTION_PARTS[layer[2]]
            for part, rows in zip(parts, np.split(tensor, len(parts)), strict=True):
                if part.endswith("k_proj") and layer[3] == "bias":  # Whisper's keys have no bias; the file holds zeros
                    continue
                state[f"model.{side}.layers.{layer[1]}.{part}.{LEAVES[layer[3]]}"] = rows
        elif outer:
            state[f"model.{side}.{outer[1]}.{LEAVES[outer[2]]}"] = tensor
    return state


def architecture(variables: dict[str, np.ndarray]) -> dict[str, int]:
    """The sizes that WhisperConfig wants, read off the tensors' shapes."""

    def n_layers(side: str) -> int:
        return 1 + max(int(found[1]) for name in variables if (found := re.match(rf"{side}/layer_(\d+)/", name)))

    vocab_size, d_model = variables["decoder/embeddings/weight"].shape
    n_heads = {side: int(variables[f"{side}/num_heads"]) for side in ("encoder", "decoder")}
    return {
        "vocab_size": vocab_size,
        "d_model": d_model,
        "num_mel_bins": variables["encoder/conv1/weight"].shape[1],
        "encoder_layers": n_layers("encoder"),
        "decoder_layers": n_layers("decoder"),
        "encoder_attention_heads": n_heads["encoder"],
        "decoder_attention_heads": n_heads["decoder"],
        "encoder_ffn_dim": len(variables["encoder/layer_0/ffn/linear_0/bias"]),
        "decoder_ffn_dim": len(variables["decoder/layer_0/ffn/linear_0/bias"]),
        "max_source_positions": len(variables["encoder/position_encodings/encodings"]),
        "max_target_positions": len(variables["decoder/position_encodings/encodings"]),
    }


def _u32(file: BinaryIO) -> int:
    return struct.unpack("<I", file.read(4))[0]


def _string(file: BinaryIO) -> str:
    (length,) = struct.unpack("<H", file.read(2))
    return file.read(length)[:-1].decode()  # a closing zero is counted


def _variable(file: BinaryIO) -> tuple[str, np.ndarray]:
    name = _string(file)
    (rank,) = struct.unpack("<B", file.read(1))
    shape = struct.unpack(f"<{rank}I", file.read(4 * rank))
    (dtype,) = struct.unpack("<B", file.read(1))
    if dtype >= len(DTYPES):
        raise ValueError(f"type {dtype} of {name}")
    data = file.read(_u32(file))
    return name, np.frombuffer(data, dtype=DTYPES[dtype]).reshape(shape)
