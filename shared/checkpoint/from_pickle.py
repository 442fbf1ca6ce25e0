"""The weights of an older checkpoint, pytorch_model.bin, as model.safetensors.

Enters: a folder in transformers' form with pickled weights. Leaves: the same checkpoint in safetensors. torch's
restricted unpickler makes tensors only and runs no code; even so, what a visitor names is never opened this way.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from safetensors.torch import save_file

from shared.checkpoint.info import copy_files
from shared.checkpoint.weights import read_json
from shared.errors import UserError

PICKLED, INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"


def to_safetensors(source: Path, folder: Path) -> None:
    """Write the checkpoint into the empty `folder`. Raises UserError if the weights hold anything but tensors."""
    state: dict[str, torch.Tensor] = {}
    for path in _parts(source):
        state |= _tensors(path)
    embedding = state.get("model.decoder.embed_tokens.weight")
    output = state.get("proj_out.weight")
    if embedding is not None and output is not None and torch.equal(embedding, output):
        del state["proj_out.weight"]  # tied: one tensor under two names, which safetensors refuses
    save_file({str(name): tensor.clone().contiguous() for name, tensor in state.items()}, folder / "model.safetensors",
              metadata={"format": "pt"})
    copy_files([path.name for path in source.iterdir() if path.suffix in (".json", ".txt", ".md")
                and not path.name.endswith(".index.json")], source, folder)


def _parts(source: Path) -> list[Path]:
    """The one file, or those that the index names: checkpoints of more than 10 GB, later of 5, were saved in parts."""
    if (source / PICKLED).is_file():
        return [source / PICKLED]
    parts = read_json(source / INDEX).get("weight_map")
    names = sorted({name for name in parts.values() if isinstance(name, str)}) if isinstance(parts, dict) else []
    missing = [name for name in names if Path(name).name != name or not (source / name).is_file()]
    if missing or not names:
        raise UserError("The checkpoint is not complete", got=f"without {missing[0] if missing else 'any part'}",
                        hint="fetch it again")
    return [source / name for name in names]


def _tensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, AttributeError, OSError) as error:
        raise UserError("The checkpoint's weights are damaged, or hold more than tensors", got=path.name,
                        hint="fetch it again, or save it with save_pretrained (safetensors is its default)") from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise UserError("The checkpoint's weights hold more than tensors", got=path.name,
                        hint="save it with save_pretrained (safetensors is its default)")
    return state
