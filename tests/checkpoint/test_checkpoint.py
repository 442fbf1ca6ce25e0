"""Every way to name weights, every way that can fail, and both engines from one set of files."""

from __future__ import annotations

import codecs
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hub_server import HubServer, environment
from paths import ROOT
from safetensors.torch import load_file, save_file
from speech import clips
from training_world import random_base

from shared.checkpoint import Checkpoint, Download, Facts, facts, files
from shared.checkpoint.embedded import embedded_base, embedded_base_transformers
from shared.checkpoint.hub import fetch
from shared.checkpoint.tokenizer import Tokens
from shared.errors import UserError
from shared.inference import Transcriber

CLIP = clips("it")[1]


@pytest.fixture(scope="module")
def weights() -> Path:
    return embedded_base_transformers()


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    """13 MB where no text is judged. It writes one word."""
    return random_base(tmp_path_factory.mktemp("small") / "base", writes="ciao")


def test_a_hub_checkpoint_brings_only_what_is_needed(hub, small):
    content = {path.name: path for path in small.iterdir()}
    commit = hub.add("model", "me/whisper", {
        **{name: path.read_bytes() for name, path in content.items()},
        "pytorch_model.bin": b"pickle", "flax_model.msgpack": b"flax", "tf_model.h5": b"tf", "training.log": b"x",
        "README.md": b"---\nlanguage: sv\n---\n# A Swedish one\n",
    })
    fractions = []
    checkpoint, folder = files(Checkpoint.parse("me/whisper"), "transformers",
                               lambda part, text: fractions.append(part))
    assert checkpoint == Checkpoint("me/whisper", commit)
    fetched = set(hub.downloads("me/whisper"))
    assert "model.safetensors" in fetched
    assert not fetched & {"pytorch_model.bin", "flax_model.msgpack", "tf_model.h5", "training.log"}
    assert fractions and fractions == sorted(fractions) and fractions[-1] == 1.0
    assert facts(folder).languages == ("sv",)

    hub.fail(".*", status=500)  # from here on nothing answers: a pinned commit in the cache needs nobody
    assert files(Checkpoint.parse(f"me/whisper@{commit}"), "transformers")[1] == folder


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_file_of_the_hubs_cache_that_is_cut_off_is_fetched_again(hub, small, name):
    model_id = f"me/cut-{name.partition('.')[0]}"
    commit = hub.add("model", model_id, small)
    for asked in (model_id, f"{model_id}@{commit}"):
        _, folder = files(Checkpoint.parse(asked), "transformers")
        os.truncate((folder / name).resolve(), 1000)
        _, folder = files(Checkpoint.parse(asked), "transformers")
        assert (folder / name).read_bytes() == (small / name).read_bytes()


@pytest.mark.skipif(os.name == "nt", reason="a file where a folder is expected is another error there")
def test_where_the_hubs_cache_cannot_be_written_the_network_is_not_blamed(hub, small, tmp_path, monkeypatch):
    hub.add("model", "me/nowhere", small)
    (tmp_path / "hub").write_text("a file, not a folder")
    for module in ("huggingface_hub.constants", "huggingface_hub._snapshot_download"):
        monkeypatch.setattr(f"{module}.HF_HUB_CACHE", str(tmp_path / "hub"), raising=False)
    monkeypatch.setattr("shared.checkpoint.hub.HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(UserError, match=r"cache cannot be written.*HF_HOME"):
        files(Checkpoint.parse("me/nowhere"), "transformers")


def test_a_hub_checkpoint_is_converted_once_and_says_the_same(hub, small, tmp_path, monkeypatch):
    monkeypatch.setenv("WHISPER_SPACES_CACHE", str(tmp_path))
    config = json.loads((small / "config.json").read_text()) | {"finetuned_languages": ["it"], "short_context": "any"}
    hub.add("model", "me/italian", {**{path.name: path.read_bytes() for path in small.iterdir()},
                                    "config.json": json.dumps(config).encode()})
    asked = Checkpoint.parse("me/italian")
    first = Transcriber(asked, engine="ctranslate2", device="cpu")
    assert first.languages == ("it",) and first.facts == Facts(("it",), "any", True)
    assert first.transcribe(CLIP.path, language="it").text == "ciao"
    converted = files(asked, "ctranslate2")[1]
    written = (converted / "model.bin").stat().st_mtime_ns
    assert files(asked, "ctranslate2")[1] == converted and (converted / "model.bin").stat().st_mtime_ns == written
    assert {"tokenizer.json", "preprocessor_config.json"} <= {path.name for path in converted.iterdir()}


def test_hub_errors_say_what_to_do(hub, monkeypatch):
    hub.add("model", "me/private", {"config.json": b"{}"}, private=True)
    hub.add("model", "me/pickled", {"config.json": b'{"model_type": "whisper"}', "pytorch_model.bin": b"x"})
    hub.add("model", "me/flax", {"config.json": b'{"model_type": "whisper"}', "flax_model.msgpack": b"x"})
    hub.add("model", "me/bert", {"config.json": b'{"model_type": "bert"}', "model.safetensors": b"x"})
    with pytest.raises(UserError, match="no such model"):
        fetch("me/nothing", None)
    with pytest.raises(UserError, match="no such revision"):
        fetch("me/pickled", "0" * 40)
    with pytest.raises(UserError, match="no weights in safetensors"):
        fetch("me/flax", None)
    with pytest.raises(UserError, match="damaged, or hold more than tensors"):
        files(Checkpoint.parse("me/pickled"), "transformers")
    with pytest.raises(UserError, match="no weights in safetensors"):
        files(Checkpoint.parse("me/pickled"), "transformers", download=Download(token=False))
    with pytest.raises(UserError, match=r"not Whisper.*bert"):
        files(Checkpoint.parse("me/bert"), "transformers")
    with pytest.raises(UserError, match="too large"):
        fetch("me/bert", None, max_bytes=0)
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(UserError, match=r"private.*HF_TOKEN.*hf auth login"):
        fetch("me/private", None)


def test_no_network_is_an_error_at_once(tmp_path):
    """A port nobody listens on. (An address that swallows packets is bounded by `hub.CONNECT_SECONDS`.)"""
    code = ("import time; from shared.checkpoint.hub import fetch; from shared.errors import UserError\n"
            "begun = time.monotonic()\n"
            "try: fetch('openai/whisper-small', None)\n"
            "except UserError as error: print(f'{time.monotonic() - begun:.2f}|{error}')")
    env = os.environ | {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=60,
                          cwd=ROOT)
    seconds, message = done.stdout.strip().split("|")
    assert "could not be reached" in message and "embedded:whisper-base" in message
    assert float(seconds) < 2


def damaged(checkpoint: Path, folder: Path, name: str) -> Path:
    shutil.copytree(checkpoint, folder)
    if name == "half-downloaded":
        path = folder / "model.safetensors"
        with path.open("r+b") as file:
            file.truncate(path.stat().st_size // 2)
    elif name == "not safetensors":
        (folder / "model.safetensors").write_bytes(b"\x80\x04 this is a pickle" * 100)
    elif name == "no weights":
        (folder / "model.safetensors").unlink()
    elif name == "no config":
        (folder / "config.json").unlink()
    elif name == "broken config":
        (folder / "config.json").write_text('{"model_type": "whis')
    elif name == "not whisper":
        (folder / "config.json").write_text('{"model_type": "wav2vec2"}')
    elif name == "missing shard":
        (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
        index = '{"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}'
        (folder / "model.safetensors.index.json").write_text(index)
    elif name == "no tokenizer":
        for path in folder.glob("*tokenizer*"):
            path.unlink()
    return folder


@pytest.mark.parametrize("name, message", [
    ("half-downloaded", "not complete"), ("not safetensors", "damaged"), ("no weights", "no weights"),
    ("no config", "not complete"), ("broken config", "damaged"), ("not whisper", "not Whisper"),
    ("missing shard", "not complete"), ("no tokenizer", "no tokenizer"),
])
def test_damaged_folders_say_what_is_wrong(small, tmp_path, name, message):
    folder = damaged(small, tmp_path / "checkpoint", name)
    with pytest.raises(UserError, match=message):
        Transcriber(Checkpoint.parse(str(folder)), engine="torch", device="cpu")


def edited(folder: Path, weights: Callable[[dict], dict] | None = None, **files: Callable[[dict], object]) -> None:
    """Change the weights of a checkpoint, and JSON files of it by their names without the ending."""
    if weights is not None:
        path = folder / "model.safetensors"
        save_file({name: tensor.contiguous() for name, tensor in weights(load_file(path)).items()}, path,
                  metadata={"format": "pt"})
    for name, change in files.items():
        path = folder / f"{name}.json"
        path.write_text(json.dumps(change(json.loads(path.read_text()))))


def without(key: str) -> Callable[[dict], dict]:
    return lambda values: {name: value for name, value in values.items() if name != key}


FC1 = "model.decoder.layers.1.fc1.weight"
# What transformers fills with random numbers, leaves out or reads as something else, without a word.
APART: dict[str, tuple[str, dict]] = {
    "a tensor is missing": (f"no tensor {FC1.removeprefix('model.')}", {"weights": without(FC1)}),
    "more layers than weights": ("no tensor decoder.layers.2", {"config": lambda c: c | {"decoder_layers": 9}}),
    "more weights than layers": ("layer 2.*decoder_layers = 1", {"config": lambda c: c | {"decoder_layers": 1}}),
    "layers are not counted": ("decoder_layers = None", {"config": without("decoder_layers")}),
    "a width as text": ("d_model = 64", {"config": lambda c: c | {"d_model": "64"}}),
    "heads that do not fit": ("3 heads for a width of 64", {"config": lambda c: c | {"encoder_attention_heads": 3}}),
    "another log-mel": (r"conv1.weight of shape \(64, 80, 3\)", {"config": lambda c: c | {"num_mel_bins": 128}}),
    "a smaller vocabulary": ("embed_tokens.weight of shape", {"config": lambda c: c | {"vocab_size": 51866}}),
    "integers": ("type that is not read here.*I8",
                 {"weights": lambda w: w | {FC1: (100 * w[FC1]).to(torch.int8)}}),
    "quantised": ("quantised.*bitsandbytes", {"config": lambda c: c | {
        "quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}}}),
    "NaN": ("not numbers.*layers.1.fc1", {"weights": lambda w: w | {FC1: w[FC1] * float("nan")}}),
    "suppressed tokens as text": ("suppress_tokens", {"generation_config": lambda c: c | {"suppress_tokens": "x"}}),
    "a generation config that is a list": ("generation_config", {"generation_config": lambda c: [c]}),
    "a tokenizer without a model": ("tokenizer|converted", {"tokenizer": lambda t: {"version": "1.0"}}),
}


@pytest.mark.parametrize("engine", ["torch", "ctranslate2"])
@pytest.mark.parametrize("name", APART)
def test_weights_that_are_not_what_the_configuration_says_are_refused(small, tmp_path, monkeypatch, name, engine):
    monkeypatch.setenv("WHISPER_SPACES_CACHE", str(tmp_path / "cache"))
    message, changes = APART[name]
    shutil.copytree(small, tmp_path / "checkpoint")
    edited(tmp_path / "checkpoint", **changes)
    with pytest.raises(UserError, match=message):
        Transcriber(Checkpoint.parse(str(tmp_path / "checkpoint")), engine=engine, device="cpu")
    assert not [path for path in (tmp_path / "cache").glob("*") if path.is_dir()]


def test_a_tokenizer_of_another_model_is_refused(small, tmp_path):
    """large-v3 has one language more: with an older tokenizer every token behind it would be read as its neighbour."""
    shutil.copytree(small, tmp_path / "checkpoint")

    def one_more(weights: dict) -> dict:
        name = "model.decoder.embed_tokens.weight"
        return weights | {name: torch.cat([weights[name], weights[name][-1:]])}

    edited(tmp_path / "checkpoint", one_more, config=lambda c: c | {"vocab_size": 51866})
    with pytest.raises(UserError, match=r"another model's.*51865 tokens.*51866"):
        Transcriber(Checkpoint.parse(str(tmp_path / "checkpoint")), engine="torch", device="cpu")


def test_pickled_weights_in_parts_are_read(hub, small, tmp_path, monkeypatch):
    """As checkpoints of more than 5 GB were saved before safetensors."""
    monkeypatch.setenv("WHISPER_SPACES_CACHE", str(tmp_path / "cache"))
    weights = load_file(small / "model.safetensors")
    names = sorted(weights)
    parts = {"pytorch_model-00001-of-00002.bin": names[::2], "pytorch_model-00002-of-00002.bin": names[1::2]}
    folder = tmp_path / "parts"
    shutil.copytree(small, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    for file, part in parts.items():
        torch.save({name: weights[name] for name in part}, folder / file)
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(
        {"weight_map": {name: file for file, part in parts.items() for name in part}}))
    hub.add("model", "me/parts", folder)
    for named in (str(folder), "me/parts"):
        found = load_file(files(Checkpoint.parse(named), "transformers")[1] / "model.safetensors")
        assert found.keys() == weights.keys() and all(torch.equal(found[name], weights[name]) for name in names)
    (folder / "pytorch_model-00002-of-00002.bin").unlink()
    with pytest.raises(UserError, match="without pytorch_model-00002"):
        files(Checkpoint.parse(str(folder)), "transformers")


def without_tokenizer_json(checkpoint: Path, folder: Path) -> Path:
    """The checkpoint with its tokenizer in vocab.json, merges.txt and added_tokens.json."""
    shutil.copytree(checkpoint, folder)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    (folder / "vocab.json").write_text(json.dumps(tokenizer["model"]["vocab"]))
    merges = tokenizer["model"]["merges"]
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(
        merge if isinstance(merge, str) else " ".join(merge) for merge in merges))
    (folder / "added_tokens.json").write_text(json.dumps(
        {token["content"]: token["id"] for token in tokenizer["added_tokens"]}))
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "WhisperTokenizer"}')
    return folder


@pytest.mark.parametrize("engine", ["torch", "ctranslate2"])
def test_json_that_begins_with_a_byte_order_mark_is_read(small, tmp_path, engine):
    """As an editor on Windows saves it. Every file of the folder, by either engine; the folder stays as it is."""
    folder = tmp_path / "edited"
    shutil.copytree(small, folder)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    (folder / "vocab.json").write_text(json.dumps(tokenizer["model"]["vocab"]))
    files_of_json = sorted(folder.glob("*.json"))
    assert {path.name for path in files_of_json} >= {"config.json", "generation_config.json", "tokenizer.json",
                                                     "preprocessor_config.json", "vocab.json"}
    for path in files_of_json:
        path.write_bytes(codecs.BOM_UTF8 + path.read_bytes())
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    transcriber = Transcriber(Checkpoint.parse(str(folder)), engine=engine, device="cpu")
    assert transcriber.transcribe(CLIP.path, language="it").text == "ciao"
    assert transcriber.tokens.languages == Tokens(small).languages
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_tokenizer_of_two_files_with_byte_order_marks_is_read(small, tmp_path):
    folder = without_tokenizer_json(small, tmp_path / "old")
    for path in list(folder.glob("*.json")):
        path.write_bytes(codecs.BOM_UTF8 + path.read_bytes())
    found = files(Checkpoint.parse(str(folder)), "transformers")[1]
    assert Tokens(found).encode(CLIP.text) == Tokens(small).encode(CLIP.text)


def test_a_ctranslate2_folder_serves_its_own_engine_only(base):
    folder = str(embedded_base())
    assert Transcriber(Checkpoint.parse(folder), engine="ctranslate2").transcribe(CLIP.path, language="it").text
    with pytest.raises(UserError, match="CTranslate2's form only"):
        Transcriber(Checkpoint.parse(folder), engine="torch")


def test_a_checkpoint_without_tokenizer_json_is_served(small, tmp_path):
    """As many a student's checkpoint of 2022: vocab.json and merges.txt only."""
    folder = without_tokenizer_json(small, tmp_path / "old")
    (folder / "generation_config.json").unlink()
    for engine in ("ctranslate2", "torch"):
        transcriber = Transcriber(Checkpoint.parse(str(folder)), engine=engine, device="cpu")
        assert transcriber.transcribe(CLIP.path, language="it").text == "ciao"
        stock = Tokens(small)
        for clip in clips():
            ids = transcriber.tokens.encode(clip.text)
            assert ids == stock.encode(clip.text) and transcriber.tokens.text(ids) == stock.text(ids) == clip.text
        assert transcriber.tokens.languages == stock.languages and transcriber.tokens.last_stamp == stock.last_stamp


def test_the_hub_server_of_another_process_is_reached_as_the_real_one(tmp_path, weights):
    """Download progress, commit and text, as on a Space: nothing shared with this process but the address."""
    server = HubServer().start()
    try:
        commit = server.add("model", "me/w", {path.name: path.read_bytes() for path in weights.iterdir()})
        code = ("import sys; from shared.checkpoint import Checkpoint; from shared.inference import Transcriber\n"
                "t = Transcriber(Checkpoint.parse('me/w'), engine='torch', device='cpu')\n"
                "print(t.checkpoint.revision, t.transcribe(sys.argv[1], language='it').text, sep='|')")
        done = subprocess.run([sys.executable, "-c", code, str(CLIP.path)], capture_output=True, text=True,
                              env=os.environ | environment(server, tmp_path), cwd=ROOT)
        assert done.returncode == 0, done.stderr
        revision, text = done.stdout.strip().splitlines()[-1].split("|")
        assert revision == commit and "casella di posta" in text
    finally:
        server.stop()
