"""training.model and merged adapters: short contexts, adapters, and checkpoints that others open."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import ctranslate2
import numpy as np
import peft
import pytest
import torch
from paths import DATA
from safetensors.torch import load_file, save_file
from training_world import small_data
from transformers import AutoProcessor, WhisperForConditionalGeneration

from shared.audio import load_audio
from shared.audio.features import log_mel
from shared.audio.windows import Window
from shared.checkpoint import Checkpoint, facts
from shared.checkpoint.adapter import merge_adapter
from shared.checkpoint.embedded import embedded_base, embedded_base_transformers
from shared.errors import UserError
from shared.inference import Transcriber
from shared.options import Options
from shared.system.hardware import has_vnni
from shared.wer import pooled, utterance_errors, word_errors
from training.config import Config, Data, Extra, Method, Steps
from training.data import IGNORED, Clips, open_split
from training.model import complete, load_base, plain, token_loss, trainable
from training.validation import Validation, weights

CLIP = DATA / "it_vm-mailboxfull.flac"
RUN = {"base": "embedded:whisper-base", "base_revision": None, "finetuned_languages": ["it"], "language": "it",
       "task": "transcribe", "short_context": "any", "timestamps": True}


def config(**changed) -> Config:
    return Config(name="t", data=(Data("nowhere"),), language="it", **changed)


def features(n_frames: int) -> torch.Tensor:
    return torch.from_numpy(log_mel(load_audio(CLIP).samples, 80, n_frames))[None]


@pytest.fixture(scope="module")
def stock():
    return WhisperForConditionalGeneration.from_pretrained(embedded_base_transformers(), dtype=torch.float32).eval()


def test_at_full_length_the_encoder_is_the_stock_one(stock):
    _, model, _ = load_base(config())
    with torch.no_grad():
        ours = model.eval().model.encoder(features(3000)).last_hidden_state
        theirs = stock.model.encoder(features(3000)).last_hidden_state
    assert torch.equal(ours, theirs)
    assert model.state_dict().keys() == stock.state_dict().keys()


def test_a_short_context_is_that_of_ctranslate2():
    _, model, _ = load_base(config())
    short = features(600)
    with torch.no_grad():
        ours = model.eval().model.encoder(short).last_hidden_state.numpy()
    other = ctranslate2.models.Whisper(str(embedded_base()), compute_type="float32", intra_threads=2)
    theirs = np.array(other.encode(ctranslate2.StorageView.from_array(short.numpy())))
    assert ours.shape == theirs.shape == (1, 300, 512)
    np.testing.assert_allclose(ours, theirs, atol=2e-2)
    assert model.config.max_source_positions == 1500 and model.model.encoder.embed_positions.num_embeddings == 1500


def test_what_is_trained():
    counts = {}
    for kind in ("full", "frozen-encoder", "lora"):
        base, model, _ = load_base(config())
        model = trainable(model, config(method=Method(kind=kind, lora_rank=4)), base)
        counts[kind] = sum(p.numel() for p in model.parameters() if p.requires_grad)
        assert not plain(model).model.encoder.embed_positions.weight.requires_grad
        encoder = any(p.requires_grad for name, p in model.named_parameters() if ".encoder." in name)
        assert encoder == (kind != "frozen-encoder")
    assert counts["full"] > counts["frozen-encoder"] > counts["lora"] == 540_672


def test_gradient_checkpointing_is_on_from_the_start_and_changes_no_gradient():
    """Before the Trainer has the model, so that the preflight measures what training will take."""
    found = []
    for checkpointing in (False, True):
        base, model, _ = load_base(config())
        torch.manual_seed(1)
        steps = Steps(gradient_checkpointing=checkpointing)
        model = trainable(model, config(method=Method(kind="lora", lora_rank=2), steps=steps), base).train()
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=0.02)
        held = 0

        def count(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal held
            held += tensor.nbytes
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            output = model(input_features=features(200), decoder_input_ids=torch.tensor([[50258, 50274, 50359, 50363]]))
        output.logits.square().mean().backward()
        gradients = {name: weight.grad for name, weight in model.named_parameters() if weight.requires_grad}
        found.append((held, gradients))
    (plainly, expected), (sparingly, got) = found
    assert sparingly < plainly / 2
    assert expected.keys() == got.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(got[name], gradient)
        assert got[name].abs().max() > 0, name


def test_a_module_that_there_is_not_is_named():
    """peft adapts those that it finds, and says nothing of the others."""
    base, model, _ = load_base(config())
    with pytest.raises(UserError, match=r"no modules.*query.*q_proj"):
        trainable(model, config(method=Method(kind="lora", lora_targets=("v_proj", "query"))), base)


def adapter_folder(folder: Path, seed: int = 0, std: float = 0.02) -> tuple[Path, peft.PeftModel]:
    base, model, processor = load_base(config())
    model = trainable(model, config(method=Method(kind="lora", lora_rank=4)), base)
    torch.manual_seed(seed)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=std)
    model.save_pretrained(folder)
    complete(folder, model, processor, RUN)
    return folder, model


def test_merging_equals_pefts_own_and_is_complete(tmp_path, stock):
    adapter, wrapped = adapter_folder(tmp_path / "adapter")
    merge_adapter(embedded_base_transformers(), adapter, tmp_path / "merged")
    ours = WhisperForConditionalGeneration.from_pretrained(tmp_path / "merged", dtype=torch.float32).eval()
    theirs = wrapped.merge_and_unload().eval()
    start = torch.tensor([[50258, 50274, 50359, 50363]])
    with torch.no_grad():
        given = {"input_features": features(3000), "decoder_input_ids": start}
        logits, expected, untouched = (model(**given).logits for model in (ours, theirs, stock))
    assert torch.allclose(logits, expected, atol=5e-2)  # weights are kept in the base's float16
    assert (logits - untouched).abs().max() > 1
    names = {path.name for path in (tmp_path / "merged").iterdir()}
    assert {"model.safetensors", "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
            "preprocessor_config.json", "processor_config.json", "run.json"} <= names
    stated = facts(tmp_path / "merged")
    assert (stated.languages, stated.short_context, stated.timestamps) == (("it",), "any", True)
    assert ours.generation_config.language == "it" and len(ours.generation_config.alignment_heads) == 8
    assert AutoProcessor.from_pretrained(tmp_path / "merged").tokenizer.vocab_size > 50_000
    assert json.loads((adapter / "adapter_config.json").read_text())["base_model_name_or_path"] == RUN["base"]


def test_an_adapter_of_another_base_is_refused(tmp_path):
    adapter, _ = adapter_folder(tmp_path / "adapter")
    weights = load_file(adapter / "adapter_model.safetensors")
    save_file({name.replace("layers.5", "layers.11"): weight for name, weight in weights.items()},
              adapter / "adapter_model.safetensors")
    with pytest.raises(UserError, match="another base"):
        merge_adapter(embedded_base_transformers(), adapter, tmp_path / "merged")


def test_the_loss_is_per_token_over_all_batches():
    logits = torch.randn(3, 5, 11)
    labels = torch.randint(0, 11, (3, 5))
    labels[0, 2:] = IGNORED
    whole = token_loss(type("Out", (), {"logits": logits}), labels)
    n_tokens = (labels != IGNORED).sum()
    parts = [token_loss(type("Out", (), {"logits": logits[i : i + 1]}), labels[i : i + 1], n_tokens) for i in range(3)]
    assert torch.allclose(sum(parts), whole)
    assert torch.allclose(whole, torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten()), atol=1e-6)


@pytest.mark.slow
def test_validation_transcribes_as_the_saved_checkpoint_does(tmp_path):
    """Weights handed over in memory, an adapter added to them, against the adapter merged on disk and opened anew."""
    folder, model = adapter_folder(tmp_path / "adapter", std=0.002)  # little enough for it to hear still
    base = embedded_base_transformers()
    merge_adapter(base, folder, tmp_path / "merged")
    ours = weights(model)
    for name, tensor in load_file(tmp_path / "merged" / "model.safetensors").items():
        torch.testing.assert_close(ours[name].to(tensor.dtype), tensor)
    data = small_data(tmp_path / "set", train=[CLIP.name], test=["en_austen-0880.flac"],
                      validation=[CLIP.name, "en_austen-0930.flac", "it_priv-introsaved.flac",
                                  "es_pls-hold-while-try.ogg"])
    settings = replace(config(extra=Extra(timestamps=0.5)), data=(Data(str(data)),))
    clips = Clips(open_split(settings.data[0], "validation"), settings, training=False)
    messages = []
    validation = Validation(settings, base, clips, messages.append)
    merged = Transcriber(Checkpoint.parse(str(tmp_path / "merged")), engine="torch",
                         compute_type="int8" if has_vnni() else "float32")
    expected = []
    for example in (clips[i] for i in range(3)):
        window = Window(example.samples, ((0, 0, len(example.samples)),))
        (decoded,) = merged.window_decoder.recognise([window], Options(example.language))
        expected.append(" ".join(segment.text for segment in decoded[0]))
    found = validation.texts(model)
    # Weights on disk are in half precision, which makes a word another now and then.
    assert len(found) == 4 and pooled(word_errors(one, other, "it")
                                      for one, other in zip(expected, found[:3], strict=True)).wer < 0.1
    rates = validation.rates(model)
    counted = [utterance_errors(row["text"], text, row["language"])
               for row, text in zip(clips.rows, found, strict=True)]
    assert rates == {"rank": rates["rank"], "wer": pytest.approx(100 * pooled(one.words for one in counted).wer),
                     "cer": pytest.approx(100 * pooled(one.characters for one in counted).wer)}
    assert 0 < rates["cer"] < rates["wer"] < rates["rank"] < rates["wer"] + 0.1  # characters only part ties
    assert sum("reference: " in one and "hypothesis: " in one for one in messages) == 3
    halves = [Validation(settings, base, clips, messages.append, rank, 2).texts(model) for rank in range(2)]
    assert [halves[0][0], halves[1][0], halves[0][1], halves[1][1]] == found
