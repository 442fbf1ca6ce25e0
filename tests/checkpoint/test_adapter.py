"""shared.checkpoint.adapter: every kind of LoRA adapter against peft's own merge, and those that are refused."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from training_world import random_base
from transformers import WhisperForConditionalGeneration

from shared.checkpoint import Checkpoint, Download, facts, files, weight_files
from shared.checkpoint.adapter import merge_adapter
from shared.checkpoint.weights import ADAPTER
from shared.engines.torch_engine import TorchEngine
from shared.errors import UserError

KINDS = {
    "linear layers": {},
    "rank and alpha patterns": {"rank_pattern": {"fc1": 2, r".*decoder.*q_proj": 3},
                                "alpha_pattern": {"encoder.layers.0.fc1": 5}},
    "rank-stabilised": {"use_rslora": True},
    "bias of its layers": {"bias": "lora_only"},
    "every bias": {"bias": "all"},
    "its own bias": {"lora_bias": True},
    "whole modules": {"modules_to_save": ["fc2", "layer_norm"]},
    "whole embedding": {"modules_to_save": ["embed_tokens"]},
    "embedding and output": {"modules_to_save": ["embed_tokens", "proj_out"]},
    "some tokens": {"trainable_token_indices": [100, 51864]},
    "some tokens by name": {"trainable_token_indices": {"embed_tokens": [7]}},
    "embedding": {"target_modules": ["q_proj", "embed_tokens"]},
    "a pattern of modules": {"target_modules": r".*decoder.*(self_attn|encoder_attn)\.(q|v)_proj"},
    "some layers": {"layers_to_transform": [1]},
    "DoRA": {"use_dora": True},
    "parameters": {"target_modules": ["q_proj"], "target_parameters": ["fc1.weight"]},
}


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return random_base(tmp_path_factory.mktemp("adapter") / "base")


def opened(folder: Path) -> WhisperForConditionalGeneration:
    return WhisperForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)


def adapter_of(base: Path, folder: Path, **settings) -> Path:
    """An adapter as peft saves it after training: every tensor of it differs from what it began with."""
    lora = peft.LoraConfig(**({"r": 4, "lora_alpha": 9, "target_modules": ["q_proj", "fc1"]} | settings))
    model = peft.get_peft_model(opened(base), lora)
    torch.manual_seed(3)
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data += 0.3 * torch.randn_like(weight)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def adapter(base, tmp_path_factory) -> Path:
    return adapter_of(base, tmp_path_factory.mktemp("adapter") / "plain")


def changed(adapter: Path, folder: Path, **settings) -> Path:
    """A copy of an adapter with other settings."""
    shutil.copytree(adapter, folder)
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_merged_is_what_peft_merges(base, tmp_path, kind):
    folder = adapter_of(base, tmp_path / "adapter", **KINDS[kind])
    theirs = peft.PeftModel.from_pretrained(opened(base), folder).merge_and_unload()
    merge_adapter(base, folder, tmp_path / "merged")
    ours = opened(tmp_path / "merged")
    expected, untouched = theirs.state_dict(), opened(base).state_dict()
    assert ours.state_dict().keys() == expected.keys()
    for name, weight in ours.state_dict().items():
        torch.testing.assert_close(weight, expected[name], atol=1e-5, rtol=1e-5, msg=name)
    assert any(not torch.equal(weight, untouched[name]) for name, weight in expected.items())
    served = TorchEngine(tmp_path / "merged", device="cpu", compute_type="float32")._network.vocabulary
    vector = torch.randn(1, 64)
    torch.testing.assert_close(served(vector), vector @ expected["proj_out.weight"].T, atol=1e-3, rtol=1e-3)


def test_weights_keep_their_type_and_variants_beside_them_do_not_count(base, adapter, tmp_path):
    """As whisper-large-v3 on the Hub: the weights in half precision, and `model.fp32-*` shards beside them."""
    shutil.copytree(base, tmp_path / "base")
    weights = load_file(base / "model.safetensors")
    half = {name: weight.half() for name, weight in weights.items()}
    save_file(half, tmp_path / "base" / "model.safetensors", metadata={"format": "pt"})
    names = sorted(weights)
    shards = {"model.fp32-00001-of-00002.safetensors": names[::2], "model.fp32-00002-of-00002.safetensors": names[1::2]}
    for file, part in shards.items():
        save_file({name: weights[name] for name in part}, tmp_path / "base" / file, metadata={"format": "pt"})
    (tmp_path / "base" / "model.safetensors.index.fp32.json").write_text(json.dumps(
        {"weight_map": {name: file for file, part in shards.items() for name in part}}))
    merge_adapter(tmp_path / "base", adapter, tmp_path / "merged")
    merged = load_file(tmp_path / "merged" / "model.safetensors")
    assert {weight.dtype for weight in merged.values()} == {torch.float16}
    expected = peft.PeftModel.from_pretrained(opened(tmp_path / "base"), adapter).merge_and_unload().state_dict()
    for name, weight in merged.items():
        torch.testing.assert_close(weight, expected[name].half(), msg=name)
    assert [path.name for path in weight_files(tmp_path / "base")] == ["model.safetensors"]


def test_a_base_in_shards_is_merged_into_one_file(base, adapter, tmp_path):
    opened(base).save_pretrained(tmp_path / "base", max_shard_size="4MB")
    for name in ("tokenizer.json", "generation_config.json", "preprocessor_config.json"):
        shutil.copyfile(base / name, tmp_path / "base" / name)
    assert len(weight_files(tmp_path / "base")) > 1
    merge_adapter(tmp_path / "base", adapter, tmp_path / "merged")
    merge_adapter(base, adapter, tmp_path / "expected")
    assert not list((tmp_path / "merged").glob("*.index.json"))
    ours, expected = (load_file(tmp_path / name / "model.safetensors") for name in ("merged", "expected"))
    assert ours.keys() == expected.keys() and all(torch.equal(ours[name], expected[name]) for name in ours)


REFUSED: dict[str, tuple[str, dict]] = {
    "another kind": ("cannot be merged", {"peft_type": "IA3"}),
    "no kind": ("cannot be merged", {"peft_type": None}),
    "rank as text": ("cannot be merged.*r = 4", {"r": "4"}),
    "no rank": ("cannot be merged", {"r": 0}),
    "a huge rank": ("cannot be merged", {"r": 10**9}),
    "no alpha": ("lora_alpha = 0 .*change nothing", {"lora_alpha": 0}),
    "no alpha for one module": ("cannot be merged.*alpha_pattern", {"alpha_pattern": {"fc1": 0.0}}),
    "alpha is a list": ("cannot be merged", {"lora_alpha": [9]}),
    "modules are a number": ("cannot be merged", {"target_modules": 7}),
    "pattern of ranks is a list": ("cannot be merged", {"rank_pattern": ["fc1"]}),
    "tokens are text": ("cannot be merged", {"trainable_token_indices": "all"}),
    "tokens beyond the vocabulary": ("cannot be merged", {"trainable_token_indices": [10**7]}),
    "a key that changes the model": ("cannot be merged.*layer_replication", {"layer_replication": [[0, 2], [1, 2]]}),
    "a base changed before training": ("cannot be merged", {"init_lora_weights": "pissa"}),
    "another rank": ("cannot be merged", {"r": 8}),
    "more modules than it has": ("not in it", {"target_modules": ["q_proj", "fc1", "fc2"]}),
    "fewer modules than it has": ("no place for", {"target_modules": ["q_proj"]}),
    "whole modules it does not hold": ("cannot be merged", {"modules_to_save": ["fc2"]}),
    "biases it does not hold": ("not in it", {"bias": "all"}),
    "no module is called so": ("cannot be merged", {"target_modules": ["query"]}),
    "a pattern that takes for ever": ("repeated group", {"target_modules": r"(.*a+)+!"}),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_an_adapter_that_would_be_merged_wrongly_is_refused(base, adapter, tmp_path, kind):
    message, settings = REFUSED[kind]
    with pytest.raises(UserError, match=message):
        merge_adapter(base, changed(adapter, tmp_path / "adapter", **settings), tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def named(adapter: Path, folder: Path, base: object) -> Checkpoint:
    return Checkpoint.parse(str(changed(adapter, folder, base_model_name_or_path=base)))


def broken_file(change: Callable[[Path], object]) -> Callable[[Path], None]:
    def broken(folder: Path) -> None:
        change(folder / ADAPTER)
    return broken


@pytest.mark.parametrize("message, change", [
    (f"no {ADAPTER}", broken_file(Path.unlink)),
    ("damaged", broken_file(lambda path: path.write_bytes(b"\x80\x04 a pickle" * 9))),
    ("not complete", broken_file(lambda path: path.write_bytes(path.read_bytes()[:-9]))),
    ("not numbers", broken_file(lambda path: save_file(
        {name: weight * float("nan") for name, weight in load_file(path).items()}, path, metadata={"format": "pt"}))),
    ("changes nothing", broken_file(lambda path: save_file(
        {name: weight * ("lora_A" in name) for name, weight in load_file(path).items()}, path,
        metadata={"format": "pt"}))),
    ("damaged", lambda folder: (folder / "adapter_config.json").write_text("[1, 2]")),
    ("damaged", lambda folder: (folder / "adapter_config.json").write_text('{"peft_type": "LO')),
    ("complete weights and an adapter", lambda folder: (folder / "model.safetensors").write_bytes(b"")),
])
def test_a_damaged_adapter_says_what_is_wrong(base, adapter, tmp_path, monkeypatch, message, change):
    monkeypatch.setenv("WHISPER_SPACES_CACHE", str(tmp_path / "cache"))
    checkpoint = named(adapter, tmp_path / "adapter", str(base))
    change(tmp_path / "adapter")
    with pytest.raises(UserError, match=message):
        files(checkpoint, "transformers")
    assert not [path for path in (tmp_path / "cache").glob("*") if path.is_dir()]


@pytest.mark.parametrize("base_id", [None, "", 5, ["a/b"], "no such thing"])
def test_an_adapter_that_names_no_base_says_so(adapter, tmp_path, base_id):
    with pytest.raises(UserError, match="What to do"):
        files(named(adapter, tmp_path / "adapter", base_id), "transformers")


def test_adapters_that_name_themselves_or_each_other_are_refused(adapter, tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    named(adapter, one, str(other)), named(adapter, other, str(one))
    with pytest.raises(UserError, match="names itself"):
        files(Checkpoint.parse(str(one)), "transformers")
    with pytest.raises(UserError, match="names itself"):
        files(named(adapter, tmp_path / "self", str(tmp_path / "self")), "transformers")


def test_an_adapter_on_an_adapter_is_merged_twice(base, adapter, tmp_path, monkeypatch):
    monkeypatch.setenv("WHISPER_SPACES_CACHE", str(tmp_path / "cache"))
    first = named(adapter, tmp_path / "first", str(base))
    _, once = files(first, "transformers")
    _, twice = files(named(adapter, tmp_path / "second", first.model_id), "transformers")
    before, after, last = (load_file(folder / "model.safetensors") for folder in (base, once, twice))
    for name in before:
        torch.testing.assert_close(last[name] - after[name], after[name] - before[name], atol=1e-5, rtol=1e-4)


def test_on_the_hub_the_size_limit_holds_for_the_base_and_no_folder_is_named(hub, base, adapter, tmp_path):
    hub.add("model", "me/base", base)
    hub.add("model", "me/adapter", changed(adapter, tmp_path / "a", base_model_name_or_path="me/base"))
    hub.add("model", "me/folder", changed(adapter, tmp_path / "f", base_model_name_or_path=str(base)))
    hub.add("model", "me/itself", changed(adapter, tmp_path / "i", base_model_name_or_path="me/itself"))
    with pytest.raises(UserError, match="too large"):
        files(Checkpoint.parse("me/adapter"), "transformers", download=Download(5_000_000))
    for _ in range(2):  # the second time from the cache
        assert files(Checkpoint.parse("me/adapter"), "transformers", download=Download(30_000_000))[1].is_dir()
    pinned = files(Checkpoint.parse("me/adapter"), "transformers")[0]
    with pytest.raises(UserError, match="too large"):
        files(pinned, "transformers", download=Download(5_000_000))
    with pytest.raises(UserError, match="no base checkpoint on the Hub"):
        files(Checkpoint.parse("me/folder"), "transformers")
    with pytest.raises(UserError, match="names itself"):
        files(Checkpoint.parse("me/itself"), "transformers")


def test_without_the_token_nothing_private_is_fetched(hub, base, adapter, tmp_path):
    hub.add("model", "tester/secret", base, private=True)
    hub.add("model", "me/open", changed(adapter, tmp_path / "a", base_model_name_or_path="tester/secret"))
    commit = files(Checkpoint.parse("tester/secret"), "transformers")[0]
    for name in ("me/open", "tester/secret", str(commit)):
        with pytest.raises(UserError, match="not public"):
            files(Checkpoint.parse(name), "transformers", download=Download(token=False))


def test_a_repository_with_weights_and_an_adapter_is_refused(hub, base, adapter):
    content = {path.name: path.read_bytes() for folder in (base, adapter) for path in folder.iterdir()}
    hub.add("model", "me/both", content)
    with pytest.raises(UserError, match="complete weights and an adapter"):
        files(Checkpoint.parse("me/both"), "transformers")


def test_facts_of_odd_types_are_damage(base, tmp_path):
    shutil.copytree(base, tmp_path / "c")
    path = tmp_path / "c" / "config.json"
    config = json.loads(path.read_text())
    for key, value in (("finetuned_languages", "it"), ("finetuned_languages", [5]), ("short_context", "tiny"),
                       ("timestamps", "yes"), ("finetuned_task", "sing"), ("text_language", 7)):
        path.write_text(json.dumps(config | {key: value}))
        with pytest.raises(UserError, match=key):
            facts(tmp_path / "c")


ODD_VALUES = [None, True, -1, 0, 10**12, 1.5, float("nan"), "", "x", "\x00", [], [[]], {}, {"a": {}}, ["q_proj", 3],
              "embedded:whisper-base", "../..", "a" * 10_000]


@pytest.mark.slow
def test_three_hundred_mutated_adapters_are_merged_or_refused(base, adapter, tmp_path, monkeypatch):
    """Never a traceback, nothing half-made left in the cache, and where one is merged it is what peft gives."""
    monkeypatch.setenv("WHISPER_SPACES_CACHE", str(tmp_path / "cache"))
    good = named(adapter, tmp_path / "good", str(base)).model_id
    merged = 0
    for seed in range(300):
        rng = random.Random(seed)
        folder = tmp_path / f"adapter-{seed}"
        shutil.copytree(good, folder)
        mutate(folder, rng)
        try:
            _, result = files(Checkpoint.parse(str(folder)), "transformers")
        except UserError as error:
            assert error.hint, seed
        else:
            try:
                theirs = peft.PeftModel.from_pretrained(opened(base), folder).merge_and_unload().state_dict()
            except (TypeError, ValueError):  # peft refuses an odd value, such as "", of a setting that is off
                theirs = None
            for name, weight in (load_file(result / "model.safetensors") if theirs else {}).items():
                torch.testing.assert_close(weight, theirs[name], atol=1e-4, rtol=1e-4, msg=f"{seed}: {name}")
            merged += theirs is not None
            shutil.rmtree(result)
        assert not list((tmp_path / "cache").glob("*.unfinished")), seed
        shutil.rmtree(folder)
    assert 10 < merged < 290


def mutate(folder: Path, rng: random.Random) -> None:
    """One to three changes: a setting, a tensor, or bytes of a file."""
    config, weights = folder / "adapter_config.json", folder / ADAPTER
    for _ in range(rng.randint(1, 3)):
        kind = rng.choice(["setting", "setting", "setting", "tensor", "tensor", "bytes", "cut", "gone"])
        path = rng.choice([config, weights])
        if kind == "gone" and rng.random() < 0.3:
            path.unlink(missing_ok=True)
        elif kind == "cut" and path.is_file():
            data = path.read_bytes()
            path.write_bytes(data[: rng.randrange(len(data) + 1)])
        elif kind == "bytes" and path.is_file() and path.stat().st_size:
            data = bytearray(path.read_bytes())
            for _ in range(rng.randint(1, 8)):
                data[rng.randrange(min(len(data), 4000))] = rng.randrange(256)
            path.write_bytes(data)
        elif kind == "setting":
            mutate_setting(config, rng)
        elif kind == "tensor":
            mutate_tensor(weights, rng)


def mutate_setting(path: Path, rng: random.Random) -> None:
    try:
        settings = json.loads(path.read_text())
        key = rng.choice(sorted(settings))
    except (ValueError, OSError, TypeError, IndexError):
        return
    settings[rng.choice([key, "r", "lora_alpha", "target_modules", "rank_pattern", "modules_to_save", "bias"])] = (
        rng.choice(ODD_VALUES))
    path.write_text(json.dumps(settings))


def mutate_tensor(path: Path, rng: random.Random) -> None:
    try:
        tensors = load_file(path)
        name = rng.choice(sorted(tensors))
    except Exception:  # damaged by an earlier change
        return
    weight = tensors.pop(name)
    change = rng.choice(["gone", "renamed", "cut", "half", "infinite", "larger"])
    if change != "gone":
        tensors[f"{name}x" if change == "renamed" else name] = {
            "renamed": weight, "cut": weight[:-1].contiguous(), "half": weight.half(),
            "infinite": weight / 0, "larger": torch.cat([weight, weight])}[change]
    save_file(tensors, path, metadata={"format": "pt"})
