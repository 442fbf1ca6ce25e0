"""The weight files of a checkpoint in transformers' form: which ones count, and whether they are complete.

Enters: a folder. Leaves: paths, and what the headers of the safetensors files say. Loads no tensor.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from shared.errors import UserError

INDEX = "model.safetensors.index.json"
ADAPTER = "adapter_model.safetensors"
MAX_HEADER_BYTES = 100_000_000  # the format's own limit


def weight_files(folder: Path) -> list[Path]:
    """The files that transformers loads from a folder.

    Others may lie beside them, such as the `model.fp32-*` variants of large Whisper checkpoints; they do not count.

    Args:
        folder: of a checkpoint in transformers' form.

    Returns:
        model.safetensors, else the shards of its index, sorted.

    Raises:
        UserError: there are none, or a shard is missing.
    """
    single, index = folder / "model.safetensors", folder / INDEX
    if single.is_file():
        return [single]
    if not index.is_file():
        raise UserError("The checkpoint has no weights in safetensors", got=folder.name,
                        hint="save it with save_pretrained (safetensors is its default)")
    shards = read_json(index).get("weight_map")
    if not isinstance(shards, dict) or not all(isinstance(name, str) for name in shards.values()):
        raise UserError("The checkpoint's configuration is damaged", got=INDEX, hint="fetch it again")
    names = sorted(set(shards.values()))
    missing = [name for name in names if "/" in name or "\\" in name or not (folder / name).is_file()]
    if missing or not names:
        raise UserError("The checkpoint is not complete", got=f"without {missing[0] if missing else 'any shard'}",
                        hint="fetch it again")
    return [folder / name for name in names]


def check_one_kind(name: str, present: set[str]) -> None:
    """Raise UserError where complete weights and an adapter lie in one checkpoint: which is meant cannot be known."""
    complete, adapter = present & {"model.safetensors", INDEX}, present & {ADAPTER, "adapter_config.json"}
    if complete and adapter:
        raise UserError("The checkpoint holds complete weights and an adapter",
                        got=f"{name}: {', '.join(sorted(complete | adapter))}",
                        hint="delete those that are not meant, or publish it again with training.publish")


def header(path: Path) -> dict[str, dict[str, Any]]:
    """What a safetensors file says of its tensors: name to {"dtype", "shape", "data_offsets"}.

    The file states its own length (https://github.com/huggingface/safetensors#format), which is compared.
    Raises UserError if it is no such file or not complete.
    """
    with path.open("rb") as file:
        n_header = int.from_bytes(file.read(8), "little")
        try:
            entries = json.loads(file.read(min(n_header, MAX_HEADER_BYTES)))
            entries = {name: entry for name, entry in entries.items() if name != "__metadata__"}
            end = max(entry["data_offsets"][1] for entry in entries.values())
            expected = 8 + n_header + end
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
            raise UserError("The checkpoint's weights are damaged", got=f"{path.name} without a readable header",
                            hint="fetch or save it again") from None
    size = path.stat().st_size
    if size != expected:
        raise UserError("The checkpoint's weights are not complete", got=f"{path.name}: {size / 1e6:.1f} MB",
                        limit=f"{expected / 1e6:.1f} MB by its header", hint="fetch or save it again")
    return entries


def check_finite(name: str, tensor: Any) -> None:
    """Refuse weights that are not numbers, with which a model writes one sign for ever or fails in a library.

    Args:
        name: of the tensor, for the message.
        tensor: a torch tensor of any shape and type.

    Raises:
        UserError: a value of it is NaN or infinite.
    """
    if tensor.is_floating_point() and not math.isfinite(float(tensor.float().sum())):
        raise UserError("The checkpoint's weights are not numbers", got=f"NaN or infinite values in {name}",
                        hint="use an earlier checkpoint of its training")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a checkpoint's folder. Raises UserError if it is missing, damaged or another kind of value."""
    if not path.is_file():
        raise UserError("The checkpoint is not complete", got=f"no {path.name} in {path.parent.name}",
                        hint="fetch it again, or choose a folder saved by save_pretrained")
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise UserError("The checkpoint's configuration is damaged", got=path.name, hint="fetch it again")
    return found
