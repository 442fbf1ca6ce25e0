"""Which weights: naming them, getting them onto this machine, and what they say of themselves.

`Checkpoint` names a Hub repository at a commit, a local folder, or an embedded model. `files` makes a folder of it in
the form an engine reads. Knows nothing of audio or decoding.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from shared.checkpoint.embedded import embedded_base, embedded_base_transformers
from shared.checkpoint.hub import COMMIT, fetch
from shared.checkpoint.identity import EMBEDDED, MODELS, Checkpoint
from shared.checkpoint.info import read_json
from shared.errors import OtherForm, UserError
from shared.files import made_once

Progress = Callable[[float, str], None]
Form = Literal["transformers", "ctranslate2"]

TAIL_FILE = "tail.npy"  # a learned tail within a checkpoint's folder
# Stock checkpoints that were measured with 5 s of silence after a clip instead of 30 s in all (docs/inference.md).
WITH_ROOM = (f"{EMBEDDED}whisper-base", "openai/whisper-base")
CONVERSION = 1  # of what `files` writes into the cache; a new one is made beside the old


def files(checkpoint: Checkpoint, form: Form, progress: Progress | None = None, max_bytes: int | None = None,
          token: bool = True) -> tuple[Checkpoint, Path]:
    """A folder of this checkpoint in the form an engine reads, and the checkpoint with its commit filled in.

    Downloads, merges a LoRA adapter and converts as needed, each once; `progress` is told of it. max_bytes and token
    (see `hub.fetch`) hold for an adapter's base as well. Raises UserError.
    """
    if checkpoint.origin == "embedded" and checkpoint.name == "whisper-base":
        return checkpoint, embedded_base() if form == "ctranslate2" else embedded_base_transformers()
    checkpoint, folder = _local(checkpoint, progress, max_bytes, token)
    if (folder / "adapter_config.json").is_file():
        folder = _merged(checkpoint, folder, progress, max_bytes, token)
    has = _form(folder)
    if has == form:
        return checkpoint, folder
    if form == "transformers":
        raise OtherForm("This checkpoint is in CTranslate2's form only", got=checkpoint.name,
                        hint="choose the engine ctranslate2, or the original checkpoint")
    return checkpoint, _converted(folder, progress)


def learned_tail(folder: Path, n_mels: int) -> np.ndarray | None:
    """The learned tail (`training.tail`) in a checkpoint's folder: float32 (n_mels, n_frames). Raises UserError."""
    path = folder / TAIL_FILE
    if not path.is_file():
        return None
    try:
        tail = np.load(path)
    except (ValueError, EOFError, OSError):
        tail = np.zeros(0)
    if tail.ndim != 2 or len(tail) != n_mels or not 0 < tail.shape[1] <= 500:
        raise UserError("The checkpoint's learned tail cannot be used", got=f"{TAIL_FILE} of shape {tail.shape}",
                        limit=f"{n_mels} mel channels, at most 5 s", hint="learn it again (python -m training.tail)")
    return tail.astype(np.float32)


def _local(checkpoint: Checkpoint, progress: Progress | None, max_bytes: int | None, token: bool
           ) -> tuple[Checkpoint, Path]:
    if checkpoint.origin == "embedded":
        return checkpoint, MODELS / checkpoint.name
    if checkpoint.origin == "folder":
        folder = Path(checkpoint.model_id)
        if not folder.is_dir():
            raise UserError("The checkpoint's folder is gone", got=folder, hint="check the path")
        return checkpoint, folder
    snapshot = fetch(checkpoint.model_id, checkpoint.revision, progress, max_bytes, token)
    return replace(checkpoint, revision=snapshot.commit), snapshot.folder


def _form(folder: Path) -> Form:
    """Which form the folder is in; refuses what is not Whisper, and weights that are not whole."""
    if (folder / "model.bin").is_file() and not list(folder.glob("*.safetensors")):
        return "ctranslate2"
    config = read_json(folder / "config.json")
    if config.get("model_type") != "whisper":
        raise UserError("The checkpoint is not Whisper", got=f"model_type {config.get('model_type')!r}",
                        hint="choose a Whisper checkpoint")
    weights = sorted(folder.glob("model*.safetensors"))
    if not weights:
        raise UserError("The checkpoint has no weights in safetensors", got=folder.name,
                        hint="save it with save_pretrained (safetensors is its default)")
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        missing = set(read_json(index)["weight_map"].values()) - {path.name for path in weights}
        if missing:
            raise UserError("The checkpoint is not complete", got=f"without {min(missing)}", hint="fetch it again")
    for path in weights:
        _check_whole(path)
    return "transformers"


def _check_whole(path: Path) -> None:
    """A safetensors file states its own length; compare (https://github.com/huggingface/safetensors#format)."""
    with path.open("rb") as file:
        n_header = int.from_bytes(file.read(8), "little")
        try:
            header = json.loads(file.read(min(n_header, 100_000_000)))
            end = max(entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__")
        except (ValueError, KeyError, TypeError, UnicodeDecodeError):
            raise UserError("The checkpoint's weights are damaged", got=f"{path.name} without a readable header",
                            hint="fetch or save it again") from None
    size, expected = path.stat().st_size, 8 + n_header + end
    if size != expected:
        raise UserError("The checkpoint's weights are not complete", got=f"{path.name}: {size / 1e6:.1f} MB",
                        limit=f"{expected / 1e6:.1f} MB by its header", hint="fetch or save it again")


def _merged(checkpoint: Checkpoint, adapter: Path, progress: Progress | None, max_bytes: int | None, token: bool
            ) -> Path:
    """The base checkpoint with a LoRA adapter folded in, in transformers' form."""
    config = read_json(adapter / "adapter_config.json")
    base_id, revision = config.get("base_model_name_or_path"), config.get("revision")
    if not base_id:
        raise UserError("The adapter does not name its base checkpoint", got=checkpoint.name,
                        hint="set base_model_name_or_path in adapter_config.json")
    base = Checkpoint.parse(base_id)
    if base.origin == "Hub" and base.revision is None and revision:
        base = replace(base, revision=revision)
    if not token and checkpoint.origin == "Hub" and base.origin == "folder":  # a stranger opens no folder here
        raise UserError("The adapter names a folder as its base checkpoint", got=checkpoint.name,
                        hint="name a public checkpoint of the Hub as base_model_name_or_path")
    _, base_folder = files(base, "transformers", progress, max_bytes, token)
    _check_whole(adapter / "adapter_model.safetensors")

    def merge(folder: Path) -> None:
        from shared.checkpoint.lora import merge_adapter

        if progress is not None:
            progress(0.0, f"Merging the adapter {checkpoint.name}")
        merge_adapter(base_folder, adapter, folder)

    return made_once(f"merged-{_fingerprint(adapter, base_folder)}", merge)


def _converted(source: Path, progress: Progress | None) -> Path:
    """The same weights in CTranslate2's form, float16 on disk (the engine quantises them as it loads)."""

    def convert(folder: Path) -> None:
        from shared.checkpoint.to_ctranslate2 import to_ctranslate2

        if progress is not None:
            progress(0.0, f"Converting {source.name} for CTranslate2, once")
        to_ctranslate2(source, folder)

    return made_once(f"ctranslate2-{_fingerprint(source)}", convert)


def _fingerprint(*folders: Path) -> str:
    """Changes when a folder's weights or configuration do; contents of large files count by size and time."""
    digest = hashlib.sha256(str(CONVERSION).encode())
    for folder in folders:
        if COMMIT.fullmatch(folder.name):  # a snapshot of the Hub's cache: its name is its content
            digest.update(folder.name.encode())
            continue
        for path in (path for kind in ("json", "safetensors", "npy") for path in sorted(folder.glob(f"*.{kind}"))):
            stat = path.stat()
            small = path.read_bytes() if stat.st_size < 1 << 24 else f"{stat.st_size} {stat.st_mtime_ns}".encode()
            digest.update(path.name.encode() + small)
    return digest.hexdigest()[:16]


