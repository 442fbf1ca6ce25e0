"""A Whisper checkpoint as one GGML file for whisper.cpp.

Enters: a folder in transformers' form. Leaves: the file. Format: whisper.cpp, `whisper_model_load` in src/whisper.cpp:
magic, eleven sizes, mel filters, tokens, then tensors under the names of openai/whisper, dimensions reversed.

Matrices in float16 or in 5 bits, `q5_1`: blocks of 32 weights with a scale and a least value of their own, 24 bytes
(`block_q5_1` of ggml/src/ggml-common.h; the rounding is `quantize_row_q5_1_ref`).
"""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from safetensors import safe_open

from shared.audio.features import mel_filters
from shared.checkpoint import weight_files
from shared.errors import UserError
from shared.whisper_constants import DECODER_POSITIONS, ENCODER_POSITIONS

MAGIC = 0x67676D6C
FLOAT32, FLOAT16, Q5_1 = 0, 1, 7  # ggml_type
FILE_FLOAT16, FILE_Q5_1 = 1, 9  # ggml_ftype
FORMAT_OF_BLOCKS = 2 * 1000  # GGML_QNT_VERSION times its factor: added to the ftype of a file with blocks
BLOCK = 32  # weights
N_TEXT_TOKENS = {51864: 50256, 51865: 50257, 51866: 50257}  # without the special ones, which whisper.cpp knows itself
OUTER = {
    "encoder.embed_positions.weight": "encoder.positional_embedding",
    "decoder.embed_positions.weight": "decoder.positional_embedding",
    "decoder.embed_tokens.weight": "decoder.token_embedding.weight",
    "encoder.layer_norm": "encoder.ln_post", "decoder.layer_norm": "decoder.ln",
}
INNER = {
    "self_attn.q_proj": "attn.query", "self_attn.k_proj": "attn.key", "self_attn.v_proj": "attn.value",
    "self_attn.out_proj": "attn.out", "self_attn_layer_norm": "attn_ln",
    "encoder_attn.q_proj": "cross_attn.query", "encoder_attn.k_proj": "cross_attn.key",
    "encoder_attn.v_proj": "cross_attn.value", "encoder_attn.out_proj": "cross_attn.out",
    "encoder_attn_layer_norm": "cross_attn_ln", "fc1": "mlp.0", "fc2": "mlp.2", "final_layer_norm": "mlp_ln",
}


def write_ggml(folder: Path, path: Path, *, five_bits: bool = False) -> None:
    """Matrices in float16, or in 5 bits; vectors and positions in float32, as whisper.cpp expects them.

    Raises UserError for a shape that whisper.cpp has no room for.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    _check_shape(config)
    if five_bits and config["d_model"] % BLOCK:
        raise UserError("A model of this width cannot be written in blocks", got=config["d_model"],
                        limit=f"a multiple of {BLOCK}", hint="export the form ggml, in float16")
    tokens = _tokens(folder / "tokenizer.json", N_TEXT_TOKENS[config["vocab_size"]])
    filters = mel_filters(config["num_mel_bins"])
    sizes = [config[key] for key in (
        "vocab_size", "max_source_positions", "d_model", "encoder_attention_heads", "encoder_layers",
        "max_target_positions", "d_model", "decoder_attention_heads", "decoder_layers", "num_mel_bins")]
    with path.open("wb") as file:
        file.write(struct.pack("<12i", MAGIC, *sizes, FORMAT_OF_BLOCKS + FILE_Q5_1 if five_bits else FILE_FLOAT16))
        file.write(struct.pack("<2i", *filters.shape) + filters.tobytes())
        file.write(struct.pack("<i", len(tokens)))
        for token in tokens:
            file.write(struct.pack("<i", len(token)) + token)
        for part in weight_files(folder):
            with safe_open(part, "pt") as tensors:  # one in memory at a time
                for name in tensors.keys():  # noqa: SIM118 - it cannot be iterated
                    if name != "proj_out.weight":  # tied to the token embedding
                        _write_tensor(file, openai_name(name), tensors.get_tensor(name).float().numpy(), five_bits)


def _check_shape(config: dict[str, Any]) -> None:
    """Raise UserError for a shape that whisper.cpp cannot hold: it ends its process where it meets one."""
    sides = ("encoder", "decoder")
    heads = {side: config[f"{side}_attention_heads"] for side in sides}
    widths = [config[f"{side}_ffn_dim"] for side in sides]
    wrong = [
        (config["vocab_size"] not in N_TEXT_TOKENS, f"{config['vocab_size']} tokens", "51864, 51865 or 51866"),
        (config["num_mel_bins"] not in (80, 128), f"{config['num_mel_bins']} mel channels", "80 or 128"),
        (config["max_source_positions"] != ENCODER_POSITIONS, f"{config['max_source_positions']} encoder positions",
         str(ENCODER_POSITIONS)),
        (config["max_target_positions"] != DECODER_POSITIONS, f"{config['max_target_positions']} decoder positions",
         str(DECODER_POSITIONS)),
        (any(config["d_model"] % n for n in heads.values()), f"{config['d_model']} values for {heads} heads",
         "a whole number of values a head"),
        (set(widths) != {4 * config["d_model"]}, f"feed-forward layers of {widths}",
         f"{4 * config['d_model']}, four times the width"),
        (not config.get("tie_word_embeddings", True), "an output layer apart from the embedding", "one for both"),
    ]
    for is_wrong, got, limit in wrong:
        if is_wrong:
            raise UserError("whisper.cpp has no room for a model of this shape", got=got, limit=limit,
                            hint="export the other forms: forms=[ctranslate2-int8,ctranslate2-float16]")


def openai_name(name: str) -> str:
    """`model.encoder.layers.0.fc1.weight` -> `encoder.blocks.0.mlp.0.weight`."""
    name = name.removeprefix("model.")
    layer = re.fullmatch(r"(encoder|decoder)\.layers\.(\d+)\.(.+)\.(weight|bias)", name)
    if layer:
        return f"{layer[1]}.blocks.{layer[2]}.{INNER[layer[3]]}.{layer[4]}"
    for theirs, ours in OUTER.items():
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return name  # the two convolutions


def _write_tensor(file: BinaryIO, name: str, values: np.ndarray, five_bits: bool) -> None:
    if re.search(r"conv\d\.bias", name):
        values = values[:, None]
    kind = FLOAT32
    if values.ndim > 1 and "positional" not in name and not name.endswith("bias"):
        kind = Q5_1 if five_bits and values.ndim == 2 else FLOAT16  # whisper.cpp reads convolutions in float16
    encoded = name.encode()
    file.write(struct.pack("<3i", values.ndim, len(encoded), kind))
    file.write(struct.pack(f"<{values.ndim}i", *reversed(values.shape)) + encoded)
    if kind == Q5_1:
        file.write(in_five_bits(values))
    else:
        file.write(np.ascontiguousarray(values, dtype=np.float16 if kind == FLOAT16 else np.float32).tobytes())


def in_five_bits(values: np.ndarray) -> bytes:
    """q5_1: for each 32 weights a scale and the least of them in float16, all fifth bits as one number, then the low
    four bits of weight i and of weight i + 16 in one byte.

    values: float32 (n, a multiple of 32).
    """
    blocks = np.ascontiguousarray(values, dtype=np.float32).reshape(-1, BLOCK)
    least = blocks.min(axis=1)
    scale = (blocks.max(axis=1) - least) / np.float32(31)
    by = np.divide(np.float32(1), scale, out=np.zeros_like(scale), where=scale > 0)
    steps = ((blocks - least[:, None]) * by[:, None] + np.float32(0.5)).astype(np.uint8)
    fields = [("scale", "<f2"), ("least", "<f2"), ("fifth", "<u4"), ("low", "u1", BLOCK // 2)]
    made = np.zeros(len(blocks), dtype=fields)
    made["scale"], made["least"] = scale, least
    made["fifth"] = ((steps.astype(np.uint32) >> 4) << np.arange(BLOCK, dtype=np.uint32)).sum(axis=1, dtype=np.uint32)
    made["low"] = (steps[:, : BLOCK // 2] & 15) | (steps[:, BLOCK // 2 :] << 4)
    return made.tobytes()


def _tokens(path: Path, n_tokens: int) -> list[bytes]:
    """Text tokens as bytes, by id. The file writes each byte as a printable character (GPT-2's byte-level BPE)."""
    model = json.loads(path.read_text(encoding="utf-8"))["model"]
    by_id = {number: token for token, number in model["vocab"].items()}
    byte_of = {char: byte for byte, char in enumerate(_printable())}
    return [bytes(byte_of[char] for char in by_id[number]) for number in range(n_tokens)]


def _printable() -> list[str]:
    """The character that stands for each byte: itself where it prints, else the next free one from 256 on."""
    plain = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    others = iter(range(256, 512))
    return [chr(byte) if byte in plain else chr(next(others)) for byte in range(256)]
