"""For the tests of training: a two-layer cut of whisper-base and a small data set of the clips in tests/data."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from paths import DATA
from safetensors.torch import load_file, save_file
from transformers import WhisperConfig, WhisperForConditionalGeneration, WhisperTokenizer

from shared.audio import load_audio
from shared.checkpoint import Checkpoint, files
from shared.checkpoint.embedded import embedded_base_transformers
from training import config as settings
from training.config import Config, Data, Steps

N_LAYERS = 2
TRAIN = ["it_priv-introsaved.flac", "it_vm-mailboxfull.flac", "en_austen-0880.flac", "en_austen-0890.ogg",
         "es_pls-hold-while-try.ogg", "ru_queue-youarenext.ogg"]
AUDIO = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
COLUMNS = pa.schema([
    ("id", pa.string()), ("audio", AUDIO), ("text", pa.string()), ("language", pa.string()), ("speaker", pa.string()),
    ("duration", pa.float32()), ("source", pa.string()),
])


def small_base(folder: Path) -> Path:
    """whisper-base with its first two encoder and decoder layers: real weights, too few to be good."""
    source = embedded_base_transformers()
    shutil.copytree(source, folder)
    weights = {name: weight for name, weight in load_file(source / "model.safetensors").items()
               if ".layers." not in name or int(name.split(".layers.")[1].split(".")[0]) < N_LAYERS}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config |= {"encoder_layers": N_LAYERS, "decoder_layers": N_LAYERS, "num_hidden_layers": N_LAYERS}
    (folder / "config.json").write_text(json.dumps(config))
    generation = json.loads((folder / "generation_config.json").read_text())
    generation["alignment_heads"] = [[1, 0]]
    (folder / "generation_config.json").write_text(json.dumps(generation))
    return folder


def shipped_run(parent: Path, **splits: list[str]) -> Path:
    """A run's folder as training.finetune leaves it, with the model of the shipped adapter; splits: of `small_data`."""
    folder, data = parent / "shipped", small_data(parent / "set", **splits)
    _, model = files(Checkpoint.parse("embedded:whisper-base-it"), "transformers")
    shutil.copytree(model, folder / "model")
    described = json.loads((model / "run.json").read_text()) | {"seconds": 60.0, "step": 1, "validation_wer": 10.0}
    for path in (folder / "run.json", folder / "model" / "run.json"):
        path.write_text(json.dumps(described))
    settings.save(Config(name="shipped", data=(Data(str(data)),), language="it"), folder / "config.yaml")
    return folder


def small_data(folder: Path, **splits: list[str]) -> Path:
    """A data set as feature_pipeline writes it; splits: names of clips in tests/data."""
    with (DATA / "clips.csv").open(encoding="utf-8") as file:
        clips = {row["file"]: row for row in csv.DictReader(file)}
    (folder / "data").mkdir(parents=True)
    for split, names in splits.items():
        rows = [{
            "id": f"clips/{name}", "audio": {"bytes": (DATA / name).read_bytes(), "path": name},
            "text": clips[name]["text"], "language": clips[name]["language"], "speaker": name[:2],
            "duration": load_audio(DATA / name).duration, "source": "clips",
        } for name in names]
        pq.write_table(pa.Table.from_pylist(rows, schema=COLUMNS), folder / "data" / f"{split}-00000-of-00001.parquet")
    sizes = {split: {"rows": len(names), "hours": len(names) / 1000, "speakers": len({name[:2] for name in names})}
             for split, names in splits.items()}
    (folder / "manifest.json").write_text(json.dumps({
        "name": folder.name, "title": "Test clips", "licence": "cc-by-3.0", "credit": "Carlo Flora and others",
        "splits": sizes, "sources": [], "config": {"split": {"by": ["sentence"]}},
    }))
    return folder


def random_world(folder: Path) -> tuple[Path, Path]:
    """A base of random weights and a data set of six clips to learn from, as `tiny` takes them."""
    data = small_data(folder / "set", train=TRAIN, validation=["it_vm-tmpexists.flac"], test=["en_austen-0930.flac"])
    return random_base(folder / "base"), data


def tiny(world, out: Path, name: str = "run", **changed) -> Config:
    base, data = world
    steps = Steps(max_steps=6, batch_size=2, accumulation=1, learning_rate=1e-3, eval_steps=2, patience=0,
                  precision="float32")
    given = {"steps": steps, "language": "it", "base": str(base), "out": str(out), **changed}
    return Config(name=name, data=(Data(str(data)),), **given)


def _let_it_write(model: WhisperForConditionalGeneration, tokenizer: WhisperTokenizer, word: str) -> None:
    """After a time, or the token for none: the word; after the word: the end. Two dimensions of the embedding do it."""
    (token,) = tokenizer(f" {word}", add_special_tokens=False).input_ids
    without_times = tokenizer.convert_tokens_to_ids("<|notimestamps|>")
    embedding, norm = model.get_input_embeddings().weight, model.model.decoder.layer_norm
    embedding[:, 1:3] = 0
    embedding[without_times:, 1] = 1  # the times follow it
    embedding[token, 1:3] = 5
    norm.weight[2] = -1


def random_base(folder: Path, seed: int = 0, writes: str = "", **sizes: int) -> Path:
    """Random weights with Whisper's own tokenizer, 13 MB: for tests of files and of the run, not of accuracy.

    writes: a word of one token, which is the text it gives of every clip; none if empty.
    """
    shapes = {"d_model": 64, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2,
              "decoder_attention_heads": 2, "encoder_ffn_dim": 128, "decoder_ffn_dim": 128} | sizes
    source = embedded_base_transformers()
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("model.safetensors"))
    config = WhisperConfig.from_pretrained(source)
    for name, value in shapes.items():
        setattr(config, name, value)
    config.num_hidden_layers = config.encoder_layers
    torch.manual_seed(seed)
    model = WhisperForConditionalGeneration(config)
    with torch.no_grad():  # ends after a token or two: decoding random text up to its limit would take most of the time
        embedding = model.get_input_embeddings().weight
        embedding[:, 0] = 0
        embedding[config.eos_token_id, 0] = 2
        model.model.decoder.layer_norm.bias[0] = 10
        if writes:
            _let_it_write(model, WhisperTokenizer.from_pretrained(source), writes)
    model.save_pretrained(folder)
    shutil.copyfile(source / "generation_config.json", folder / "generation_config.json")
    generation = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps(generation | {"alignment_heads": [[1, 0]]}))
    return folder
