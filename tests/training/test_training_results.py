"""training.evaluation, publish and export on the clips in tests/data.

Scores are those of the shipped adapter's model; what concerns files and the Hub is tested on a small one, which writes
one word.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import yaml
from dictionaries import dictionary_of_clips
from huggingface_hub import HfApi
from paths import DATA
from safetensors.torch import load_file, save_file
from training_world import random_base, shipped_run, small_data

from shared import wer
from shared.checkpoint import Checkpoint, facts, files
from shared.checkpoint.info import copy_facts
from shared.errors import UserError
from shared.inference import Transcriber
from training import config as settings
from training import evaluation, export
from training.card import write_card
from training.config import Config, Data
from training.curves import curves
from training.facts import gather
from training.ggml import BLOCK, in_five_bits, openai_name, write_ggml
from training.publish import check_published, publish

ITALIAN = ["it_priv-introsaved.flac", "it_vm-mailboxfull.flac", "it_vm-tmpexists.flac"]
ENGLISH = ["en_austen-0880.flac", "en_austen-0890.ogg"]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run's folder as training.finetune leaves it, with the model of the shipped adapter."""
    return shipped_run(tmp_path_factory.mktemp("runs"), train=ENGLISH, validation=ENGLISH, test=ITALIAN)


@pytest.fixture(scope="module")
def scores(run) -> dict:
    return evaluation.evaluate(run, evaluation.Options(full_context=False), say=lambda text: None)


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    """An evaluated run of a small model: what is published or copied is 13 MB."""
    folder = tmp_path_factory.mktemp("small") / "small"
    data = small_data(folder.parent / "set", train=ENGLISH, validation=ENGLISH, test=ITALIAN)
    base = random_base(folder.parent / "base", writes="ciao", encoder_ffn_dim=256, decoder_ffn_dim=256)
    shutil.copytree(base, folder / "model")
    described = {"name": "small", "base": str(base), "base_revision": None, "finetuned_languages": ["it"],
                 "language": "it", "task": "transcribe", "short_context": "any", "timestamps": True, "method": "full",
                 "multilingual": True, "seconds": 60.0, "step": 1, "validation_wer": 10.0}
    copy_facts(described, folder / "model" / "config.json")
    for path in (folder / "run.json", folder / "model" / "run.json"):
        path.write_text(json.dumps(described))
    settings.save(Config(name="small", base=str(base), data=(Data(str(data)),), language="it"), folder / "config.yaml")
    evaluation.evaluate(folder, evaluation.Options(full_context=False), say=lambda text: None)
    return folder


def test_raw_hypotheses_are_kept_and_give_the_scores(run, scores):
    for name in ("base", "fine-tuned"):
        (path,) = (run / "evaluation").glob(f"hypotheses-{name}-*.jsonl")
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        assert [line["id"] for line in lines] == [f"clips/{clip}" for clip in ITALIAN]
        counted = wer.pooled(wer.word_errors(line["reference"], line["hypothesis"], "it") for line in lines)
        assert scores["systems"][name]["wer"] == pytest.approx(100 * counted.wer)
        assert any(letter.isupper() for letter in lines[0]["hypothesis"])  # raw: not normalised
    assert scores["systems"]["fine-tuned"]["wer"] <= 15
    assert scores["differences"]["fine-tuned against base"]["verdict"] == "too short to tell"
    assert scores["used"]["fine-tuned"]["short_context"] == "any"


def test_accents_that_references_leave_out_are_not_counted_if_so_asked(run, scores):
    before = {path: path.read_bytes() for path in (run / "evaluation").glob("hypotheses-*.jsonl")}
    try:
        bare = evaluation.evaluate(run, evaluation.Options(full_context=False, accents=False), say=lambda text: None)
        page, card = (run / "evaluation" / "report.html").read_text(), write_card(gather(run), "tester/run")
    finally:
        evaluation.evaluate(run, evaluation.Options(full_context=False), say=lambda text: None)
    assert {path: path.read_bytes() for path in before} == before  # texts as they were written, accents and all
    texts = [json.loads(line) for path in before if "base" not in path.name for line in path.open(encoding="utf-8")]
    counted = wer.score([wer.utterance_errors(*(wer.without_accents(one[key]) for key in ("reference", "hypothesis")),
                                              one["text_language"]) for one in texts])
    assert bare["systems"]["fine-tuned"]["wer"] == pytest.approx(100 * counted.wer)
    told = "Accents are left out on both sides"
    assert all(told in text for text in (evaluation.summary(bare), page, card))
    assert told not in evaluation.summary(scores)


def test_both_are_scored_with_a_dictionary_if_so_asked(run, scores, tmp_path):
    """Whose file is named in the report and the card, without the folder it lies in; and the texts are others'."""
    path, before = dictionary_of_clips(tmp_path, "it_XX", "it"), {*(run / "evaluation").iterdir()}
    try:
        options = evaluation.Options(full_context=False, engine="torch", dictionary=(str(path),))
        spelled = evaluation.evaluate(run, options, say=lambda text: None)
        assert spelled["systems"]["base"]["wer"] <= scores["systems"]["base"]["wer"]
        assert len(list((run / "evaluation").glob("hypotheses-base-*.jsonl"))) == 2
        report = (run / "evaluation/report.html").read_text()
        card = write_card(gather(run), "you/whisper-it")
        assert all("beam 5, dictionary it_XX, speech" in text and str(tmp_path) not in text for text in (report, card))
        with pytest.raises(UserError, match="No dictionary of that name"):
            evaluation.evaluate(run, evaluation.Options(dictionary=("xx",)), say=lambda text: None)
    finally:
        for other in {*(run / "evaluation").iterdir()} - before:
            other.unlink()
        evaluation.evaluate(run, evaluation.Options(full_context=False), say=lambda text: None)


def test_the_apps_reproduce_the_score(run, scores):
    transcriber = Transcriber(Checkpoint.parse(str(run / "model")))
    folder = DATA
    (path,) = (run / "evaluation").glob("hypotheses-fine-tuned-*.jsonl")
    line = json.loads(path.read_text(encoding="utf-8").splitlines()[0])
    assert transcriber.transcribe(folder / ITALIAN[0], language="it").text == line["hypothesis"]


def test_an_interrupted_evaluation_goes_on_after_the_last_whole_line(small):
    (path,) = (small / "evaluation").glob("hypotheses-base-*.jsonl")
    before = json.loads((small / "evaluation" / "scores.json").read_text())
    text = path.read_text(encoding="utf-8")
    first, second, _ = text.splitlines(keepends=True)
    path.write_text(first.replace('"speaker": "it"', '"speaker": "kept"') + second[:40], encoding="utf-8")
    again = evaluation.evaluate(small, evaluation.Options(full_context=False), say=lambda text: None)
    assert '"kept"' in path.read_text(encoding="utf-8")  # the first was not transcribed again
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [(line["id"], line["hypothesis"]) for line in lines] == [(f"clips/{clip}", "ciao") for clip in ITALIAN]
    assert again["systems"]["base"]["wer"] == before["systems"]["base"]["wer"]


def test_the_report_plays_the_worst_clips(run, scores):
    page = (run / "evaluation" / "report.html").read_text(encoding="utf-8")
    assert "<audio controls" in page and "data:audio/" in page and "fine-tuned against base" in page
    assert "src=http" not in page and "https://" not in page


def test_the_card_states_the_scores_and_the_limits(run, scores):
    card = write_card(gather(run), "tester/whisper-base-it")
    front = yaml.safe_load(card.split("---\n")[1])
    metric = front["model-index"][0]["results"][0]["metrics"][0]
    assert (metric["type"], metric["value"]) == ("wer", round(scores["systems"]["fine-tuned"]["wer"], 2))
    assert (front["base_model"], front["base_model_relation"]) == ("openai/whisper-base", "finetune")
    assert front["language"] == ["it"]
    assert front["model-index"][0]["results"][0]["dataset"]["type"] == "set"  # a path would be another's data set
    for words in ("What it is bad at", "faster-whisper", "whisper.cpp", "pipeline(", "too short to tell"):
        assert words in card


def test_the_card_has_the_config_that_repeats_the_run(small, tmp_path):
    """The settings it prints, read as a config, are the run's: no file of the project is named, which may not exist."""
    text = write_card(gather(small), "user/name")
    assert "`python -m training.finetune config.yaml`" in text and "training/configs" not in text
    (tmp_path / "config.yaml").write_text(text.split("```yaml\n")[1].split("```")[0], encoding="utf-8")
    assert settings.load(tmp_path / "config.yaml") == settings.of_run(small)


def test_publishing_gives_a_checkpoint_that_the_apps_open_at_that_commit(small, hub):
    messages: list[str] = []
    checkpoint = publish(small, "tester/whisper-base-it", say=messages.append)
    assert len(checkpoint.revision) == 40 and messages[0] == "on reloading it gives: ciao"
    on_hub = hub.read("model", "tester/whisper-base-it", checkpoint.revision)
    assert {"model.safetensors", "config.json", "generation_config.json", "tokenizer.json", "preprocessor_config.json",
            "processor_config.json", "run.json", "README.md", "scores.json", "config.yaml",
            "data-manifest-0.json"} <= on_hub.keys()
    resolved, folder = files(Checkpoint.parse(str(checkpoint)), "transformers")
    assert resolved == checkpoint and facts(folder).languages == ("it",)


@pytest.mark.parametrize(("sdk", "private", "models", "linked"), [
    ("static", False, "tester/linked", True), ("static", False, "tester/other", False),
    ("static", True, "tester/linked", False), ("gradio", False, "tester/linked", False)])
def test_the_card_links_to_the_page_that_runs_the_checkpoint_in_a_browser(small, hub, sdk, private, models, linked):
    card = f"---\ntitle: page\nsdk: {sdk}\nmodels:\n- {models}\n---\n"
    api = HfApi()
    api.create_repo("tester/page", repo_type="space", space_sdk=sdk, private=private)
    api.upload_file(path_or_fileobj=card.encode(), path_in_repo="README.md", repo_id="tester/page", repo_type="space")
    revision = publish(small, "tester/linked", say=lambda text: None).revision
    text = hub.read("model", "tester/linked", revision)["README.md"].decode()
    assert ("[In your browser](https://huggingface.co/spaces/tester/page), without a server" in text) == linked


def test_publishing_removes_what_a_loader_would_take_in_its_place(small, hub):
    """As in peft#1381: an adapter of an earlier commit stays, and is merged into what was published after it."""
    old = {"adapter_config.json": b'{"peft_type": "LORA"}', "adapter_model.safetensors": b"old",
           "pytorch_model.bin": b"x", "model.safetensors.index.json": b"{}", "model-00001-of-00002.safetensors": b"x",
           "model.bin": b"x", "model.fp32-00001-of-00002.safetensors": b"x", "added_tokens.json": b"{}",
           "ggml-model.bin": b"x", "whisper.gguf": b"x", "onnx/model.onnx": b"x", "notes.txt": b"mine",
           "samples/clip.wav": b"mine"}
    hub.add("model", "tester/old", old)
    checkpoint = publish(small, "tester/old", say=lambda text: None)
    names = set(hub.read("model", "tester/old", checkpoint.revision))
    assert names & set(old) == {"notes.txt", "samples/clip.wav"}
    assert facts(files(checkpoint, "transformers")[1]).languages == ("it",)


def test_scores_of_other_weights_are_not_published(small, hub, tmp_path):
    """A run that went on after it was evaluated: its card would state what another model scored."""
    run = tmp_path / "run"
    shutil.copytree(small, run)
    path = run / "model" / "model.safetensors"
    weights = load_file(path)
    weights["model.encoder.conv1.bias"] += 1
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"scores are of other weights.*training\.evaluation"):
        publish(run, "tester/stale", say=lambda text: None)
    assert not [entry for entry in hub.requests if entry.method in ("POST", "PUT")]


def test_a_public_repository_is_not_taken_for_a_private_one(small, hub):
    """The Hub keeps a repository as it is, whatever is asked for when it is made again."""
    hub.add("model", "tester/public", {"notes.txt": b"mine"})
    with pytest.raises(UserError, match="is public"):
        publish(small, "tester/public", private=True, say=lambda text: None)
    assert set(hub.read("model", "tester/public")) <= {"notes.txt", ".gitattributes"}
    assert publish(small, "tester/hidden", private=True, say=lambda text: None).revision


def test_what_was_published_is_fetched_and_compared(small, hub):
    checkpoint = publish(small, "tester/compared", say=lambda text: None)
    for change in ({"config.json": (small / "model" / "config.json").read_bytes() + b" "}, {"vocab.json": b"{}"}):
        commit = hub.add("model", "tester/compared", change)
        with pytest.raises(UserError, match=f"not the model that was sent.*{next(iter(change))}"):
            check_published(Checkpoint(checkpoint.model_id, commit), small / "model")
    check_published(checkpoint, small / "model")


def test_a_broken_push_goes_on_without_sending_the_weights_again(small, hub):
    hub.fail("/commit/", method="POST", status=500)
    with pytest.raises(UserError, match=r"refused|broke off"):
        publish(small, "tester/again", say=lambda text: None)
    sent = [entry for entry in hub.requests if entry.method == "PUT"]
    assert sent  # the weights; small files travel in the commit
    assert publish(small, "tester/again", say=lambda text: None).revision
    assert [entry for entry in hub.requests if entry.method == "PUT"] == sent
    assert "model.safetensors" in hub.read("model", "tester/again")


def test_publishing_needs_an_evaluated_run_and_a_name(small, hub, tmp_path):
    with pytest.raises(UserError, match="evaluated"):
        publish(tmp_path, "tester/x", say=lambda text: None)
    with pytest.raises(UserError, match="name on the Hub"):
        publish(small, "not a name", say=lambda text: None)


@pytest.mark.parametrize(("repo_id", "token", "told"), [
    ("tester/x", None, "needs a Hugging Face token.*hf auth login"), ("tester/x", "read_token", "may only read"),
    ("stranger/x", "token", "may not write there. Got: stranger. Limit: tester, team")])
def test_whose_token_it_is_is_asked_before_the_model_is_opened(small, hub, monkeypatch, repo_id, token, told):
    if token:
        monkeypatch.setenv("HF_TOKEN", getattr(hub, token))
    else:
        monkeypatch.delenv("HF_TOKEN")
    lines: list[str] = []
    with pytest.raises(UserError, match=told):
        publish(small, repo_id, say=lines.append)
    assert not lines and not [one for one in hub.requests if one.method != "GET"]


@pytest.mark.slow
def test_exports_open_in_the_real_programs_and_score_alike(run, tmp_path):
    pytest.importorskip("faster_whisper")
    pytest.importorskip("pywhispercpp")
    found = export.export(run, export.Options(bound=10.0), say=lambda text: None)
    folder = run / "export"
    assert {"model.bin", "tokenizer.json", "preprocessor_config.json", "config.json"} <= {
        path.name for path in (folder / "ctranslate2-int8").iterdir()}
    assert (folder / "ctranslate2-float16" / "model.bin").stat().st_size > 1.5 * (
        folder / "ctranslate2-int8" / "model.bin").stat().st_size
    assert all(found[form] <= found["original"] + 10 for form in export.FORMS[:3])


@pytest.mark.slow
def test_an_export_beyond_the_bound_fails_and_is_removed(run):
    pytest.importorskip("faster_whisper")
    with pytest.raises(UserError, match="worse than the original"):
        export.export(run, export.Options(forms=("ctranslate2-int8",), bound=-200.0), say=lambda text: None)
    assert not (run / "export" / "ctranslate2-int8").exists()


def test_ggml_names():
    assert openai_name("model.decoder.layers.3.encoder_attn.k_proj.weight") == "decoder.blocks.3.cross_attn.key.weight"
    assert openai_name("model.encoder.layer_norm.bias") == "encoder.ln_post.bias"
    assert openai_name("model.encoder.conv1.weight") == "encoder.conv1.weight"


def test_five_bits_are_ggmls_own(tmp_path):
    """Byte for byte what whisper.cpp's library makes of the same weights."""
    spec = importlib.util.find_spec("pywhispercpp")
    libraries = sorted(Path(spec.origin).parents[1].glob("libggml-base.so*")) if spec and spec.origin else []
    if not libraries:
        pytest.skip("SKIPPED: no libggml-base of pywhispercpp here")
    ggml = ctypes.CDLL(str(libraries[0]))
    chance = np.random.default_rng(0)
    values = chance.normal(0, 0.05, (40, 512)).astype(np.float32)
    values[3], values[4, :64], values[5, 7] = 0, -0.25, 3e-4  # all the same, and one that stands out
    made = ctypes.create_string_buffer(values.size // BLOCK * 24)
    ggml.quantize_row_q5_1_ref(values.ctypes.data_as(ctypes.c_void_p), made, ctypes.c_int64(values.size))
    assert in_five_bits(values) == made.raw
    back = np.zeros_like(values)
    ggml.dequantize_row_q5_1(in_five_bits(values), back.ctypes.data_as(ctypes.c_void_p), ctypes.c_int64(values.size))
    widest = np.ptp(values.reshape(-1, BLOCK), axis=1).max()
    assert np.abs(back - values).max() <= widest / 31 / 2 + 1e-3 * np.abs(values).max()


def test_whisper_cpp_opens_five_bits(small, tmp_path, monkeypatch):
    pytest.importorskip("pywhispercpp")
    sizes = {}
    for five_bits in (False, True):
        write_ggml(small / "model", tmp_path / "ggml.bin", five_bits=five_bits)
        sizes[five_bits] = (tmp_path / "ggml.bin").stat().st_size
    monkeypatch.setattr("torch.get_num_threads", lambda: 1)
    model = export.opened_in_whisper_cpp(tmp_path / "ggml.bin")  # raises, where whisper.cpp refuses it
    assert sizes[True] < 0.55 * sizes[False] and model.get_params()["n_threads"] == 1


@pytest.mark.parametrize("message, sizes", [
    ("heads", {"d_model": 66, "encoder_attention_heads": 4}), ("feed-forward", {"decoder_ffn_dim": 128}),
    ("tokens", {"vocab_size": 51900}), ("mel", {"num_mel_bins": 100}), ("output layer", {"tie_word_embeddings": False}),
])
def test_a_shape_that_whisper_cpp_would_end_over_is_refused_before(small, tmp_path, message, sizes):
    shutil.copytree(small / "model", tmp_path / "model", ignore=shutil.ignore_patterns("*.safetensors"))
    path = tmp_path / "model" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | sizes))
    with pytest.raises(UserError, match=f"no room for a model of this shape.*{message}"):
        write_ggml(tmp_path / "model", tmp_path / "ggml.bin")
    assert not (tmp_path / "ggml.bin").exists()


def test_a_file_that_ends_whisper_cpp_ends_another_process_only(tmp_path):
    pytest.importorskip("pywhispercpp")
    path = tmp_path / "ggml-model.bin"
    path.write_bytes(struct.pack("<12i", 0x67676D6C, 51865, 1500, 2**20, 7, 1, 448, 3, 5, 1, 80, 1) + b"\0" * 1000)
    with pytest.raises(UserError, match=r"whisper.cpp refuses this model.*exit status"):
        export.check_in_whisper_cpp(path)
    assert not path.exists()


def test_curves_show_what_was_measured():
    history = [{"step": 10, "loss": 2.0, "learning_rate": 1e-4}, {"step": 20, "loss": 1.0, "learning_rate": 5e-5},
               {"step": 20, "eval_loss": 1.5, "eval_wer": 30.0}]
    picture = curves(history)
    assert picture.count("<polyline") == 2 and "WER" not in picture  # one point makes no line
    assert "20 steps" in picture
