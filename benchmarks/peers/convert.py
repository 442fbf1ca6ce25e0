"""One checkpoint in the form each peer reads, with the same weights; each made once in the cache.

    python -m benchmarks.peers.convert embedded:whisper-base

Enters: a checkpoint as the project names it. Leaves: paths. Whether a form still says the same is measured by the
benchmark itself: its table compares each peer's text with that of transformers in float32.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from benchmarks.peers.envs import python_of
from shared.checkpoint import Checkpoint, Form, files, weight_files
from shared.system.cache import made_once
from training.ggml import openai_name, write_ggml

VERSION = 1  # of what is written here
GGML_FLOAT16, GGML_Q8_0 = 1, 8  # tensor types, ggml.h
Q8_0_BLOCK = 32  # weights that share a scale, ggml-common.h
Q8_0_FTYPE = 2007  # "mostly Q8_0" (7) in the second version of the quantised formats, ggml.h


def converted(checkpoint: str, form: str) -> str:
    """Where `checkpoint` lies in a form: ours, ctranslate2, transformers, openai, ggml, ggml-q8_0 or openvino-int8.

    Raises UserError as `shared.checkpoint.files` does; NotInstalled if the exporter cannot be installed.
    """
    if form == "ours":
        return checkpoint
    parsed = Checkpoint.parse(checkpoint)
    known: dict[str, Form] = {"ctranslate2": "ctranslate2", "transformers": "transformers"}
    if form in known:
        return str(files(parsed, known[form])[1])
    source = files(parsed, "transformers")[1]
    write, name = FORMS[form]
    return str(made_once(f"bench-{form}-v{VERSION}-{_digest(source)}", lambda folder: write(source, folder)) / name)


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in weight_files(folder):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


def _write_openai(source: Path, folder: Path) -> None:
    """{dims, model_state_dict}, as whisper.load_model reads a file."""
    import torch
    from safetensors.torch import load_file

    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    dims = {
        "n_mels": config["num_mel_bins"], "n_vocab": config["vocab_size"],
        "n_audio_ctx": config["max_source_positions"], "n_audio_state": config["d_model"],
        "n_audio_head": config["encoder_attention_heads"], "n_audio_layer": config["encoder_layers"],
        "n_text_ctx": config["max_target_positions"], "n_text_state": config["d_model"],
        "n_text_head": config["decoder_attention_heads"], "n_text_layer": config["decoder_layers"],
    }
    state = {openai_name(name): tensor.float() for path in weight_files(source)
             for name, tensor in load_file(path).items() if name != "proj_out.weight"}
    torch.save({"dims": dims, "model_state_dict": state}, folder / "model.pt")


def _write_ggml(source: Path, folder: Path) -> None:
    write_ggml(source, folder / "model.bin")


def _write_q8_0(source: Path, folder: Path) -> None:
    plain = folder / "float16.bin"
    write_ggml(source, plain)
    with plain.open("rb") as read, (folder / "model.bin").open("wb") as write:
        _quantise(read, write)
    plain.unlink()


def _quantise(source: BinaryIO, target: BinaryIO) -> None:
    """A float16 GGML file with its matrices as Q8_0: blocks of 32, a float16 scale and 32 int8 each."""
    header = source.read(48)  # magic, ten sizes, ftype
    target.write(header[:44] + struct.pack("<i", Q8_0_FTYPE))
    sizes = source.read(8)
    n_mels, n_fft = struct.unpack("<2i", sizes)
    target.write(sizes + source.read(4 * n_mels * n_fft))
    count = source.read(4)
    target.write(count)
    for _ in range(struct.unpack("<i", count)[0]):
        length = source.read(4)
        target.write(length + source.read(struct.unpack("<i", length)[0]))
    while start := source.read(12):
        n_dims, n_name, kind = struct.unpack("<3i", start)
        shape, name = source.read(4 * n_dims), source.read(n_name)
        n_values = int(np.prod(struct.unpack(f"<{n_dims}i", shape)))
        data = source.read(n_values * (2 if kind == GGML_FLOAT16 else 4))
        if kind == GGML_FLOAT16 and n_dims == 2:
            kind, data = GGML_Q8_0, _blocks(np.frombuffer(data, np.float16).astype(np.float32))
        target.write(struct.pack("<3i", n_dims, n_name, kind) + shape + name + data)


def _blocks(values: np.ndarray) -> bytes:
    rows = values.reshape(-1, Q8_0_BLOCK)
    scale = np.abs(rows).max(axis=1, keepdims=True) / 127
    whole = np.round(np.divide(rows, scale, out=np.zeros_like(rows), where=scale > 0)).astype(np.int8)
    return np.concatenate([scale.astype("<f2").view(np.int8), whole], axis=1).tobytes()


def _openvino(weights: str) -> Callable[[Path, Path], None]:
    def write(source: Path, folder: Path) -> None:
        command = [str(python_of("openvino-export").parent / "optimum-cli"), "export", "openvino", "--model",
                   str(source), "--task", "automatic-speech-recognition-with-past", "--weight-format", weights,
                   str(folder)]
        done = subprocess.run(command, env=os.environ | {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""},
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            raise RuntimeError(f"optimum-cli could not export {source}:\n{done.stdout[-2000:]}")

    return write


FORMS: dict[str, tuple[Callable[[Path, Path], None], str]] = {
    "openai": (_write_openai, "model.pt"), "ggml": (_write_ggml, "model.bin"), "ggml-q8_0": (_write_q8_0, "model.bin"),
    "openvino-int8": (_openvino("int8"), ""), "openvino": (_openvino("fp16"), ""),
}


def main() -> None:
    for checkpoint in sys.argv[1:] or ["embedded:whisper-base"]:
        for form in ("ctranslate2", "transformers", *FORMS):
            print(checkpoint, form, re.sub(f"^{Path.home()}", "~", converted(checkpoint, form)), flush=True)


if __name__ == "__main__":
    main()
