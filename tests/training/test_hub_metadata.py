"""What the Hub reads of a checkpoint, by the rules of its own client and of its documentation."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard, parse_eval_result_entries
from huggingface_hub.repocard_data import model_index_to_eval_results
from huggingface_hub.utils import validate_repo_id
from training_world import random_base, small_data

from feature_pipeline.licences import HUB_LICENCES, licence_fields
from shared.checkpoint import MODELS
from shared.errors import UserError
from training import config as settings
from training.card import write_card
from training.config import Config, Data
from training.facts import Facts, gather
from training.hub_metadata import base_model, eval_results, front_matter
from training.publish import publish

CLIPS = ["it_priv-introsaved.flac", "it_vm-mailboxfull.flac"]
TASKS = {"name": "Speech", "evaluation_framework": "whisper", "tasks": [
    {"id": "read", "config": "it", "split": "test"}, {"id": "read-nl", "config": "nl", "split": "test"},
    {"id": "read-validation", "config": "it", "split": "validation"}]}


@pytest.fixture
def run(tmp_path, hub) -> Path:
    """An evaluated run on a data set of the Hub, as the pipeline's manifest and training.evaluation describe one."""
    commit = hub.add("dataset", "speech/read", {"eval.yaml": yaml.safe_dump(TASKS).encode(), "x.parquet": b""})
    folder, data = tmp_path / "run", small_data(tmp_path / "set", train=CLIPS, test=CLIPS)
    manifest = json.loads((data / "manifest.json").read_text())
    manifest["sources"] = [{"kind": "hub", "repo": "speech/read", "commit": commit, "config": "it",
                            "splits": ["train", "test"]}]
    (data / "manifest.json").write_text(json.dumps(manifest))
    base = random_base(tmp_path / "base", writes="ciao", encoder_ffn_dim=256, decoder_ffn_dim=256)
    shutil.copytree(base, folder / "model")
    part = {"wer": 12.3421, "wer_low": 10.0, "wer_high": 15.0, "cer": 3.21, "raw_wer": 20.0, "rtfx": 9.0, "clips": 2,
            "words": 40, "substitutions": 3, "deletions": 1, "insertions": 1, "audio_seconds": 9.0}
    tuned = part | {"by": {"set": {"set": part}, "length": {"under 3 s": part}, "speaker": {"unknown": part},
                           "language": {"it": part}}}
    scores = {"systems": {"base": tuned, "fine-tuned": tuned}, "data": str(data), "sets": ["set"], "differences": {},
              "options": {"split": "test", "max_clips": 0, "beam_size": 1, "vad_onset": 0.5, "seed": 0},
              "used": {"fine-tuned": {"engine": "torch", "compute_type": "int8", "device": "cpu",
                                      "short_context": "any"}}}
    described = {"name": "small", "base": str(base), "finetuned_languages": ["it"], "language": "it", "step": 1,
                 "task": "transcribe", "short_context": "any", "timestamps": True, "seconds": 60.0,
                 "validation_wer": 10.0, "multilingual": True}
    (folder / "evaluation").mkdir()
    (folder / "evaluation" / "scores.json").write_text(json.dumps(scores))
    for path in (folder / "run.json", folder / "model" / "run.json"):
        path.write_text(json.dumps(described))
    settings.save(Config(name="small", base=str(base), data=(Data(str(data)),), language="it"), folder / "config.yaml")
    return folder


def changed(facts: Facts, **options) -> Facts:
    return replace(facts, scores=facts.scores | {"options": facts.scores["options"] | options})


def test_the_card_names_the_data_set_of_the_hub_and_no_folder(run):
    front = front_matter(gather(run), "tester/small")
    assert front["datasets"] == ["speech/read"] and "base_model" not in front  # the base is a folder here
    (result,) = model_index_to_eval_results(front["model-index"])[1][:1]
    assert (result.dataset_type, result.dataset_config, result.dataset_split) == ("speech/read", "it", "test")
    assert (result.metric_type, result.metric_value) == ("wer", 12.34)
    assert len(result.dataset_revision) == 40


def parsed(card: str) -> ModelCard:
    """As huggingface_hub reads it: every check that its client makes by itself."""
    read = ModelCard(card, ignore_metadata_errors=False)
    for name in (*(read.data.datasets or ()), *([read.data.base_model] if read.data.base_model else ())):
        validate_repo_id(name)
    return read


@pytest.mark.parametrize("adapter", [False, True])
def test_the_client_and_the_hub_accept_the_whole_card(run, hub, adapter):
    facts = gather(run)
    facts = replace(facts, config=replace(facts.config, base="embedded:whisper-base"))
    card = parsed(write_card(facts, "tester/small", adapter=adapter))
    assert card.data.base_model == "openai/whisper-base" and card.data.datasets == ["speech/read"]
    assert card.data.base_model_relation == ("adapter" if adapter else "finetune")
    assert [(one.metric_type, one.metric_value) for one in card.data.eval_results] == [("wer", 12.34), ("cer", 3.21)]
    card.validate()


def test_the_card_of_the_shipped_adapter_is_accepted(hub):
    card = parsed((MODELS / "whisper-base-it" / "README.md").read_text(encoding="utf-8"))
    assert card.data.base_model_relation == "adapter"
    card.validate()


def test_languages_have_the_codes_by_which_the_hub_lists_them(run):
    facts = gather(run)
    facts = replace(facts, run=facts.run | {"finetuned_languages": ["jw", "no", "yue"]})
    assert parsed(write_card(facts, "tester/small")).data.language == ["jv", "no", "yue"]


def test_a_card_that_the_hub_does_not_accept_is_reported(run, hub):
    (manifest,) = (run.parent / "set").glob("manifest.json")
    broken = json.loads(manifest.read_text())
    broken["sources"][0]["config"] = 5  # a subset called 5: YAML makes a number of it
    manifest.write_text(json.dumps(broken))
    with pytest.raises(UserError, match=r"does not accept the card.*dataset\.config"):
        publish(run, "tester/small", say=lambda text: None)
    assert "README.md" not in hub.read("model", "tester/small", "main")


@pytest.mark.parametrize(("base", "named"), [
    ("embedded:whisper-base", "openai/whisper-base"), ("openai/whisper-small@" + "a" * 40, "openai/whisper-small"),
    ("tests", None)])
def test_a_base_is_named_by_its_id(base, named):
    assert base_model(base) == named


@pytest.mark.parametrize(("given", "fields"), [
    ("cc-by-3.0", {"license": "cc-by-3.0"}), ("CC BY 4.0", {"license": "cc-by-4.0"}),
    ("other", {"license": "other", "license_name": "other"}),
    ("LDC User Agreement", {"license": "other", "license_name": "ldc-user-agreement"})])
def test_a_licence_is_one_that_the_hub_knows(given, fields):
    assert licence_fields(given) == fields and fields["license"] in HUB_LICENCES


def test_a_benchmark_gets_the_score_of_its_task(run, hub):
    checkpoint = publish(run, "tester/small", say=lambda text: None)
    on_hub = hub.read("model", "tester/small", checkpoint.revision)
    (name,) = [name for name in on_hub if name.startswith(".eval_results/")]
    (entry,) = parse_eval_result_entries(yaml.safe_load(on_hub[name]))
    assert (entry.dataset_id, entry.task_id) == ("speech/read", "read") and len(entry.dataset_revision) == 40
    card = yaml.safe_load(on_hub["README.md"].decode().split("---\n")[1])
    assert entry.value == card["model-index"][0]["results"][0]["metrics"][0]["value"]


def test_results_of_an_earlier_run_go_and_those_of_others_stay(run, hub):
    old = {".eval_results/whisper-spaces-speech--old-x.yaml": b"[]", ".eval_results/other.yaml": b"[]"}
    hub.add("model", "tester/small", old)
    checkpoint = publish(run, "tester/small", say=lambda text: None)
    on_hub = hub.read("model", "tester/small", checkpoint.revision)
    assert {name for name in on_hub if name.startswith(".eval_results/")} == {
        ".eval_results/other.yaml", ".eval_results/whisper-spaces-speech--read-read.yaml"}


@pytest.mark.parametrize("options", [{"max_clips": 10}, {"split": "validation"}, {"accents": False}])
def test_a_part_of_a_split_or_one_counted_otherwise_is_no_benchmark_result(run, options):
    assert eval_results(changed(gather(run), **options)) == {}


def test_a_data_set_that_is_no_benchmark_gives_none(run, hub):
    facts = gather(run)
    hub.add("dataset", "speech/plain", {"x.parquet": b""})
    (manifest,) = facts.manifests.values()
    commit = hub.add("dataset", "speech/plain", {"y.parquet": b""})
    manifest["sources"][0] |= {"repo": "speech/plain", "commit": commit}
    assert eval_results(facts) == {}


def test_a_hub_that_refuses_is_reported(run, hub):
    facts = gather(run)
    (manifest,) = facts.manifests.values()
    manifest["sources"][0] |= {"repo": "speech/silent", "commit": hub.add("dataset", "speech/silent", {"a": b"b"})}
    hub.fail("speech/silent", status=403, times=50)
    with pytest.raises(UserError, match=r"benchmark.*speech/silent"):
        eval_results(facts)
