"""Larger checkpoints through every step of this project, with random weights: peak memory and time of each.

    python -m benchmarks.shapes small large-v3-turbo                        # every step, one process after the other
    python -m benchmarks.shapes large-v3 --steps merge,ggml --dtype float16

Each step is a process of its own: peak memory is what it held at most (VmHWM), pages of mapped weight files included.
Seconds are of the wall clock and of the processor. The weights say nothing, so the model is made to end each text at
once: a transcription costs the encoder and a step or two of the decoder. What a step needs is made first, unmeasured.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import save_file

from benchmarks.gpu_models import END, SHAPES, TOKENIZER_FILES, random_model
from shared.audio import load_audio
from shared.checkpoint import Checkpoint
from shared.checkpoint.adapter import merge_adapter
from shared.checkpoint.embedded import embedded_base_transformers, write_preprocessor_config
from shared.checkpoint.to_ctranslate2 import to_ctranslate2
from shared.inference import Transcriber
from training import evaluation
from training.batch_fit import peak_mb
from training.config import Config, Context, Data, Method, Steps
from training.finetune import train
from training.ggml import write_ggml

CLIPS = sorted((Path(__file__).parents[1] / "shared/ui/examples").glob("*.flac"))[:2]
COLUMNS = pa.schema([
    ("id", pa.string()), ("audio", pa.struct([("bytes", pa.binary()), ("path", pa.string())])), ("text", pa.string()),
    ("language", pa.string()), ("speaker", pa.string()), ("duration", pa.float32()), ("source", pa.string()),
])
RANK = 16


@dataclass(frozen=True)
class Place:
    """Where one shape's files lie, in a folder of its own that goes afterwards."""

    folder: Path
    precision: Literal["float32", "bf16"]  # of the training step

    @property
    def base(self) -> Path:
        return self.folder / "base"

    def config(self) -> Config:
        """One step of LoRA with gradient checkpointing, as `training.finetune` is given it."""
        steps = Steps(max_steps=1, batch_size=1, eval_steps=1, patience=0, warmup=0, schedule="constant_with_warmup",
                      precision=self.precision, gradient_checkpointing=True)
        return Config(name="run", data=(Data(str(self.folder / "data")),), language="it", base=str(self.base),
                      out=str(self.folder), method=Method(kind="lora", lora_rank=RANK), steps=steps,
                      context=Context(full_probability=0.0))


def convert(place: Place) -> None:
    to_ctranslate2(place.base, place.folder / "ctranslate2", "int8")


def merge(place: Place) -> None:
    merge_adapter(place.base, place.folder / "adapter", place.folder / "merged")


def ggml(place: Place) -> None:
    write_ggml(place.base, place.folder / "ggml-model.bin")


def one_step(place: Place) -> None:
    train(place.config(), say=lambda line: print(line, file=sys.stderr))


def evaluate(place: Place) -> None:
    evaluation.evaluate(place.folder / "run", evaluation.Options(max_clips=2, full_context=False))


def serve(place: Place) -> None:
    _transcribed(place.base, "torch")


def serve_ctranslate2(place: Place) -> None:
    _transcribed(place.folder / "ctranslate2", "ctranslate2")


def nothing(place: Place) -> None:
    """What Python, torch and transformers take by themselves."""


def _transcribed(folder: Path, engine: str) -> None:
    Transcriber(Checkpoint.parse(str(folder)), engine=engine, compute_type="int8").transcribe(CLIPS[0], language="it")


STEPS: dict[str, Callable[[Place], None]] = {
    "nothing": nothing, "convert": convert, "serve-ctranslate2": serve_ctranslate2, "serve": serve, "merge": merge,
    "ggml": ggml, "train": one_step, "evaluate": evaluate,
}
NEEDS = {"serve-ctranslate2": ("ctranslate2", convert), "evaluate": ("run", one_step)}  # made, unmeasured, if not there
LEFT = {"merge": ["merged"], "ggml": ["ggml-model.bin"], "serve-ctranslate2": ["ctranslate2"], "evaluate": ["run"]}


@torch.no_grad()
def make(name: str, dtype: torch.dtype, folder: Path) -> None:
    """A checkpoint of a shape, an adapter for it and a data set of a few clips."""
    model = random_model(SHAPES[name], "cpu", dtype)
    embedding = model.get_input_embeddings().weight
    embedding[:, 0] = 0  # the end has the first dimension to itself, and the decoder's last layer lifts it
    embedding[END, 0] = 2
    model.model.decoder.layer_norm.bias[0] = 10
    source, base = embedded_base_transformers(), folder / "base"
    base.mkdir(parents=True)
    for file in (*TOKENIZER_FILES, "generation_config.json"):
        if (source / file).is_file():
            shutil.copyfile(source / file, base / file)
    generation = json.loads((base / "generation_config.json").read_text(encoding="utf-8"))
    model.save_pretrained(base)
    (base / "generation_config.json").write_text(json.dumps(generation | {"alignment_heads": [[1, 0]]}))
    write_preprocessor_config(base, SHAPES[name].n_mels)
    _make_adapter(model, folder / "adapter")
    _make_data(folder / "data")


def _make_adapter(model: torch.nn.Module, folder: Path) -> None:
    folder.mkdir()
    tensors = {}
    for name, module in model.named_modules():
        if name.rsplit(".", 1)[-1] in Method().lora_targets:
            key = f"base_model.model.{name}"
            tensors[f"{key}.lora_A.weight"] = torch.randn(RANK, module.in_features) / module.in_features
            tensors[f"{key}.lora_B.weight"] = torch.randn(module.out_features, RANK) / 100
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    settings = {"peft_type": "LORA", "r": RANK, "lora_alpha": 2 * RANK, "target_modules": list(Method().lora_targets)}
    (folder / "adapter_config.json").write_text(json.dumps(settings))


def _make_data(folder: Path) -> None:
    (folder / "data").mkdir(parents=True)
    texts = {"train": ["uno", "due"], "validation": ["tre"], "test": ["quattro", "cinque"]}
    for split, words in texts.items():
        rows = [{"id": f"{split}/{word}", "audio": {"bytes": path.read_bytes(), "path": path.name}, "text": word,
                 "language": "it", "speaker": "", "duration": load_audio(path).duration, "source": "examples"}
                for path, word in zip(CLIPS, words, strict=False)]
        pq.write_table(pa.Table.from_pylist(rows, schema=COLUMNS), folder / f"data/{split}-00000-of-00001.parquet")
    described = {"name": "examples", "splits": {}, "config": {"split": {"by": []}}}
    (folder / "manifest.json").write_text(json.dumps(described))


def measured(step: str, place: Place) -> dict[str, Any]:
    """One step in this process: seconds, seconds of the processor, MB at most."""
    begun, used = time.perf_counter(), time.process_time()
    STEPS[step](place)
    return {"seconds": round(time.perf_counter() - begun, 1), "cpu_seconds": round(time.process_time() - used, 1),
            "peak_mb": peak_mb()}


def in_child(work: Callable[..., Any], *given: Any) -> Any:
    """What `work` returns in a process of its own, or {"failed": why}. Forked, so that nothing is imported anew."""
    own = multiprocessing.get_context("fork")
    receiving, sending = own.Pipe(duplex=False)

    def told() -> None:
        try:
            sending.send(work(*given))
        except Exception as error:
            sending.send({"failed": f"{type(error).__name__}: {str(error)[:300]}"})

    child = own.Process(target=told)
    child.start()
    sending.close()
    try:
        found = receiving.recv()
    except EOFError:
        found = None
    child.join()
    return {"failed": f"exit code {child.exitcode}"} if child.exitcode else found


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.shapes", description=__doc__.splitlines()[0])
    parser.add_argument("shapes", nargs="*", choices=[*SHAPES, []], help=", ".join(SHAPES))
    parser.add_argument("--steps", default=",".join(STEPS), help=f"some of {','.join(STEPS)}")
    parser.add_argument("--dtype", default="float16", choices=("float32", "float16", "bfloat16"),
                        help="of the checkpoint on disk")
    parser.add_argument("--precision", default="float32", choices=("float32", "bf16"), help="of the training step")
    parser.add_argument("--out", type=Path, help="JSON file for the rows")
    given = parser.parse_args(arguments)
    steps = given.steps.split(",")
    if unknown := set(steps) - set(STEPS):
        parser.error(f"no such step: {', '.join(unknown)}")
    rows = []
    for name in given.shapes:
        with tempfile.TemporaryDirectory(prefix="shape-") as temporary:
            place = Place(Path(temporary), given.precision)
            if made := in_child(make, name, getattr(torch, given.dtype), place.folder):
                parser.error(f"{name} cannot be made: {made}")
            for step in steps:
                if step in NEEDS:
                    needed, made_by = NEEDS[step]
                    if not (place.folder / needed).exists() and (failed := in_child(made_by, place)):
                        parser.error(f"{name} is not ready for {step}: {failed}")
                rows.append({"shape": name, "dtype": given.dtype, "step": step} | in_child(measured, step, place))
                print(json.dumps(rows[-1]), flush=True)
                for left in LEFT.get(step, ()):
                    path = place.folder / left
                    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        if given.out:
            given.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return int(any("failed" in row for row in rows))


if __name__ == "__main__":
    sys.exit(main())
