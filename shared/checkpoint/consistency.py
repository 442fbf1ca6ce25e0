"""Whether a checkpoint's weights are the network that its configuration describes: every tensor, its shape, its type.

Enters: a folder in transformers' form. Leaves: nothing, or a UserError. Reads headers only. transformers fills a tensor
that is missing with random numbers and leaves out layers that the configuration does not count, so neither can be left
to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shared.checkpoint.weights import header, read_json, weight_files
from shared.errors import UserError

SIZES = ("d_model", "encoder_layers", "decoder_layers", "encoder_attention_heads", "decoder_attention_heads",
         "num_mel_bins")
TYPES = ("F64", "F32", "F16", "BF16")
_HINT = "fetch or save it again"


def check_consistent(folder: Path) -> None:
    """Raises UserError where weights and configuration do not belong together, or the weights are quantised."""
    config = read_json(folder / "config.json")
    if config.get("quantization_config"):
        about = config["quantization_config"]
        raise UserError("The checkpoint is quantised, which is not read here",
                        got=about.get("quant_method") if isinstance(about, dict) else about,
                        hint="use the checkpoint it was made from; weights are quantised here as they are loaded")
    found = {name.removeprefix("model."): entry for path in weight_files(folder)
             for name, entry in header(path).items()}
    for key in SIZES:
        value = config.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 100_000:
            raise UserError("The checkpoint's configuration is damaged", got=f"{key} = {value} in config.json",
                            hint=_HINT)
    for side in ("encoder", "decoder"):
        if config["d_model"] % config[f"{side}_attention_heads"]:
            raise _apart(f"{config[f'{side}_attention_heads']} heads for a width of {config['d_model']}")
    for name, shape in _expected(config):
        if name not in found:
            raise UserError("The checkpoint is not complete", got=f"no tensor {name}", hint=_HINT)
        there = tuple(found[name].get("shape", ()))
        if len(there) != len(shape) or any(size not in (None, given) for size, given in zip(shape, there, strict=True)):
            raise _apart(f"{name} of shape {there}, not {tuple('any' if n is None else n for n in shape)}")
        if found[name].get("dtype") not in TYPES:
            raise UserError("The checkpoint's weights are of a type that is not read here",
                            got=f"{name}: {found[name].get('dtype')}", limit=", ".join(TYPES),
                            hint="use the checkpoint it was made from")
    _check_no_more_layers(config, found)
    _check_generation(folder / "generation_config.json")


def _expected(config: dict[str, Any]) -> Iterator[tuple[str, tuple[int | None, ...]]]:
    """Every tensor of Whisper and its shape; None: any size, where the configuration may leave it out."""
    d = config["d_model"]
    yield "encoder.conv1.weight", (d, config["num_mel_bins"], 3)
    yield "encoder.conv1.bias", (d,)
    yield "encoder.conv2.weight", (d, d, 3)
    yield "encoder.conv2.bias", (d,)
    yield "encoder.embed_positions.weight", (config.get("max_source_positions"), d)
    yield "decoder.embed_positions.weight", (config.get("max_target_positions"), d)
    yield "decoder.embed_tokens.weight", (config.get("vocab_size"), d)
    for side, attentions in (("encoder", ("self_attn",)), ("decoder", ("self_attn", "encoder_attn"))):
        yield from _norm(f"{side}.layer_norm", d)
        n_inner = config.get(f"{side}_ffn_dim")
        for i in range(config[f"{side}_layers"]):
            layer = f"{side}.layers.{i}"
            for attention in attentions:
                yield from _norm(f"{layer}.{attention}_layer_norm", d)
                for projection in ("q_proj", "k_proj", "v_proj", "out_proj"):
                    yield f"{layer}.{attention}.{projection}.weight", (d, d)
                    if projection != "k_proj":
                        yield f"{layer}.{attention}.{projection}.bias", (d,)
            yield from _norm(f"{layer}.final_layer_norm", d)
            yield f"{layer}.fc1.weight", (n_inner, d)
            yield f"{layer}.fc1.bias", (n_inner,)
            yield f"{layer}.fc2.weight", (d, n_inner)
            yield f"{layer}.fc2.bias", (d,)


def _norm(name: str, d: int) -> Iterator[tuple[str, tuple[int]]]:
    yield f"{name}.weight", (d,)
    yield f"{name}.bias", (d,)


def _check_no_more_layers(config: dict[str, Any], found: dict[str, Any]) -> None:
    for name in found:
        layer = re.match(r"(encoder|decoder)\.layers\.(\d+)\.", name)
        if layer and int(layer[2]) >= config[f"{layer[1]}_layers"]:
            raise _apart(f"weights of {layer[1]} layer {int(layer[2]) + 1}, and {layer[1]}_layers = "
                         f"{config[f'{layer[1]}_layers']}")


def _check_generation(path: Path) -> None:
    """The lists that engines read from generation_config.json."""
    generation = read_json(path) if path.is_file() else {}
    for key in ("suppress_tokens", "begin_suppress_tokens", "alignment_heads"):
        value = generation.get(key)
        numbers = value if isinstance(value, list) else []
        if key == "alignment_heads" and all(isinstance(pair, list) and len(pair) == 2 for pair in numbers):
            numbers = [number for pair in numbers for number in pair]
        if not isinstance(value, list | None) or not all(isinstance(number, int) for number in numbers):
            raise UserError("The checkpoint's configuration is damaged",
                            got=f"{key} = {str(value)[:80]} in {path.name}",
                            hint="mend it, or fetch the checkpoint again")


def _apart(got: str) -> UserError:
    return UserError("The checkpoint's weights and its configuration do not belong together", got=got, hint=_HINT)
