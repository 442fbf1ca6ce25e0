"""What a run is for, from config to serving: tasks, several languages, languages without a token, old bases."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from paths import DATA
from safetensors.torch import load_file
from training_world import random_base, small_data, tiny
from transformers import AutoTokenizer, WhisperForConditionalGeneration

from shared.audio import load_audio
from shared.checkpoint import Checkpoint, facts, files
from shared.checkpoint.tokenizer import Tokens
from shared.errors import UserError
from shared.inference import Transcriber
from shared.options import Options
from shared.serving import refusal
from training import evaluation
from training.card import write_card
from training.config import Config, Data, Method
from training.data import Collator, Example, TimedText, open_sets
from training.facts import Facts, gather
from training.finetune import describe, train
from training.model import load_base

CLIP = DATA / "it_vm-mailboxfull.flac"
ITALIAN = ["it_priv-introsaved.flac", "it_vm-mailboxfull.flac"]


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("world")
    data = small_data(folder / "italian", train=ITALIAN, validation=["it_vm-tmpexists.flac"],
                      test=["it_vm-tmpexists.flac"])
    return random_base(folder / "base"), data


@pytest.fixture(scope="module")
def english(tmp_path_factory) -> Path:
    return small_data(tmp_path_factory.mktemp("more") / "english", train=["en_austen-0880.flac"],
                      validation=["en_austen-0930.flac"], test=["en_austen-0930.flac"])


def short(world, out: Path, name: str = "run", **changed) -> Config:
    config = tiny(world, out, name, **changed)
    return replace(config, steps=replace(config.steps, max_steps=2, warmup=0.0))


def quiet(text: str) -> None:
    """For what a run reports."""


def snippet(run: Path) -> str:
    """The first code of the card's section on use, as it stands there, with the folder as the model's name."""
    described = json.loads((run / "run.json").read_text())
    from training import config as settings
    from training.card import _use

    card = _use(Facts(settings.load(run / "config.yaml"), described, {}, {}), str(run / "model"), False)
    return re.search(r"```python\n(.*?)```", card, re.DOTALL)[1]


def works_as_the_card_says(run: Path) -> None:
    """transformers takes language and task; the clip is given as samples, since a path wants ffmpeg."""
    code = snippet(run).replace('"clip.wav"', "samples.copy(), return_timestamps=False")
    code = code.replace("print", "results.append")
    code = code.replace('generate_kwargs={', 'generate_kwargs={"max_new_tokens": 5, ')
    results: list[str] = []
    exec(code, {"samples": load_audio(CLIP).samples, "results": results})
    assert len(results) == 1 and isinstance(results[0], str)


def test_a_run_that_translates_says_so_and_is_served_so(world, tmp_path):
    run = train(short(world, tmp_path, task="translate"), say=quiet)
    stated = facts(run / "model")
    assert (stated.task, stated.languages, stated.writes("it"), stated.writes("it", "transcribe")) == (
        "translate", ("it",), "en", "it")
    generation = json.loads((run / "model" / "generation_config.json").read_text())
    assert (generation["task"], generation["language"]) == ("translate", "it")
    for engine in ("torch", "ctranslate2"):
        tuned = Transcriber(Checkpoint.parse(str(run / "model")), engine=engine, device="cpu")
        assert tuned.facts.task == "translate"
        assert refusal(tuned, Options("it", "translate")) is None
        assert "base model transcribed" in refusal(tuned, Options("it", "transcribe"))
    evaluation.evaluate(run, evaluation.Options(full_context=False, canary=str(world[1])), say=quiet)
    lines = {path.name.split("-")[1]: json.loads(path.read_text().splitlines()[0])
             for path in (run / "evaluation").glob("hypotheses-*.jsonl") if "canary" not in path.name}
    assert {line["text_language"] for line in lines.values()} == {"en"}
    (canary,) = (run / "evaluation").glob("hypotheses-base-canary-*.jsonl")
    assert json.loads(canary.read_text().splitlines()[0])["text_language"] == "it"
    card = write_card(gather(run), "me/translator")
    assert "Italian speech to English text" in card and '"task": "translate"' in card
    assert "--translate" in card and 'task="translate"' in card


def test_texts_in_another_language_than_the_speech_are_counted_as_what_they_are(world, tmp_path):
    config = short(world, tmp_path, text_language="ja")
    assert config.text_of("it") == "ja" and replace(config, text_language=None).text_of("it") == "it"
    run = train(config, say=quiet)
    assert facts(run / "model").writes("it") == "ja" and facts(run / "model").writes("it", "translate") == "en"


def test_several_languages_and_sets_are_written_down_and_scored_apart(world, english, tmp_path):
    config = short(world, tmp_path)
    messages: list[str] = []
    run = train(replace(config, data=(*config.data, Data(str(english)))), say=messages.append)
    assert facts(run / "model").languages == ("it", "en")
    generation = json.loads((run / "model" / "generation_config.json").read_text())
    assert generation.get("language") is None and generation["task"] == "transcribe"
    for line in ("language en: ", "language it: ", "set english: ", "set italian: "):
        assert any(line in text for text in messages), line
    scores = evaluation.evaluate(run, evaluation.Options(full_context=False), say=quiet)
    by = scores["systems"]["fine-tuned"]["by"]
    assert by["language"].keys() == {"it", "en"} and by["set"].keys() == {"italian", "english"}
    card = write_card(gather(run), "me/two")
    assert "Italian and English speech recognition" in card and "language:\n- it\n- en" in card
    assert "| italian | " in card and "| en | " in card
    page = (run / "evaluation" / "report.html").read_text()
    assert "WER % by language" in page and "WER % by set" in page
    tuned = Transcriber(Checkpoint.parse(str(run / "model")), engine="torch", device="cpu")
    assert [refusal(tuned, Options(code)) is None for code in ("it", "en", "fr")] == [True, True, False]


def test_as_many_validation_clips_of_each_set(world, english, tmp_path):
    config = tiny(world, tmp_path)
    both = replace(config, data=(*config.data, Data(str(english))))
    assert sorted(open_sets(both, "train", 2)["set"]) == ["english", "italian"]
    assert len(open_sets(both, "train")) == 3


@pytest.mark.parametrize("kind", [pytest.param("full", marks=pytest.mark.slow), "lora"])
def test_a_language_without_a_token_gets_one_that_trains_and_serves(world, tmp_path, kind, monkeypatch):
    monkeypatch.setenv("WHISPER_SPACES_CACHE", str(tmp_path / "cache"))
    config = short(world, tmp_path, language="ga", language_tokens={"ga": "cy"}, add_tokens=True,
                   method=Method(kind=kind, lora_rank=2))
    config = replace(config, data=(replace(config.data[0], language="ga"),))
    run = train(config, say=quiet)
    tokens, stock = Tokens(run / "model"), Tokens(world[0])
    new = tokens.languages["ga"]
    assert new == 51865 and "ga" not in stock.languages and tokens.last_stamp == 51864
    assert tokens.pieces([tokens.first_stamp, 100, new, tokens.first_stamp + 50])[0].end == 1.0
    embedding = load_file(run / "model" / "model.safetensors")["model.decoder.embed_tokens.weight"]
    before = load_file(world[0] / "model.safetensors")["model.decoder.embed_tokens.weight"]
    assert len(embedding) == 51866 and not torch.equal(embedding[new], before[tokens.languages["cy"]])
    assert torch.allclose(embedding[new], before[tokens.languages["cy"]], atol=0.1)  # from where it began
    generation = json.loads((run / "model" / "generation_config.json").read_text())
    assert generation["lang_to_id"]["<|ga|>"] == new and new in generation["suppress_tokens"]
    assert AutoTokenizer.from_pretrained(run / "model").convert_tokens_to_ids("<|ga|>") == new
    for engine in ("torch", "ctranslate2"):
        tuned = Transcriber(Checkpoint.parse(str(run / "model")), engine=engine, device="cpu")
        assert tuned.languages == ("ga",) and tuned.facts.tuned_for("cy") == "ga"
        assert tuned.transcribe(CLIP, language="ga").language == "ga" and "ga" in tuned.known_languages
    works_as_the_card_says(run)
    if kind == "lora":
        _, merged = files(Checkpoint.parse(str(run / "adapter")), "transformers")
        ours, theirs = (load_file(folder / "model.safetensors") for folder in (merged, run / "model"))
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
        assert Tokens(merged).languages["ga"] == new


def test_a_language_without_a_token_may_use_a_related_ones(world, tmp_path):
    config = short(world, tmp_path, language="ga", language_tokens={"ga": "cy"})
    config = replace(config, data=(replace(config.data[0], language="ga"),))
    run = train(config, say=quiet)
    tokens = Tokens(run / "model")
    assert tokens.languages["ga"] == tokens.languages["cy"] and facts(run / "model").languages == ("ga",)
    generation = json.loads((run / "model" / "generation_config.json").read_text())
    assert generation["language"] == "cy"
    tuned = Transcriber(Checkpoint.parse(str(run / "model")), engine="ctranslate2", device="cpu")
    assert tuned.transcribe(CLIP, language="ga").language == "ga"
    works_as_the_card_says(run)


def test_a_base_in_a_folder_is_evaluated_in_the_related_language(world, tmp_path):
    """It was taken for the fine-tuned one, which has the token."""
    config = tiny(world, tmp_path, language="ga", language_tokens={"ga": "cy"})
    config = replace(config, data=(replace(config.data[0], language="ga"),))
    base, rows = Checkpoint.parse(config.base), open_sets(config, "test")
    assert base.origin == "folder" and set(rows["language"]) == {"ga"}
    assert evaluation.rate_as_served(evaluation.Plan(base, rows, True, config)) > 0


def test_the_labels_hold_the_token_that_was_chosen(world, tmp_path):
    example = Example(load_audio(CLIP).samples, (TimedText("dia duit", 0, 1),), "ga", 0)
    for add, expected in ((False, "<|cy|>"), (True, "<|ga|>")):
        config = tiny(world, tmp_path, language="ga", language_tokens={"ga": "cy"}, add_tokens=add)
        _, _, processor = load_base(config)
        given, _ = Collator(config, processor.tokenizer, 80, True, False).tokens(example)
        assert processor.tokenizer.convert_ids_to_tokens(given[1]) == expected


def test_a_language_without_a_token_is_refused_with_both_ways_out(world, tmp_path):
    config = tiny(world, tmp_path, language="ga")
    with pytest.raises(UserError, match=r"no token.*language_tokens=\{ga: …\}.*add_tokens"):
        train(replace(config, data=(replace(config.data[0], language="ga"),)), say=quiet)
    with pytest.raises(UserError, match="cannot be added"):
        load_base(tiny(world, tmp_path, language="ga", language_tokens={"ga": "hsb"}, add_tokens=True))


def incomplete(base: Path, folder: Path, *, pickled: bool = False, forced: bool = False) -> Path:
    """A base as people published them in 2022: no generation_config.json, forced ids in the config, pickled weights."""
    import shutil

    shutil.copytree(base, folder)
    (folder / "generation_config.json").unlink()
    config = json.loads((folder / "config.json").read_text())
    if forced:
        config |= {"forced_decoder_ids": [[1, 50259], [2, 50359], [3, 50363]], "suppress_tokens": [1, 2, 7],
                   "begin_suppress_tokens": [220, 50257], "max_length": 448, "transformers_version": "4.26.0"}
    (folder / "config.json").write_text(json.dumps(config))
    if pickled:
        state = load_file(folder / "model.safetensors")
        torch.save(state | {"proj_out.weight": state["model.decoder.embed_tokens.weight"]},
                   folder / "pytorch_model.bin")
        (folder / "model.safetensors").unlink()
    return folder


@pytest.mark.parametrize("kind", ["no generation config", "forced ids", "pickled weights"])
def test_a_model_trained_from_an_incomplete_base_works_as_its_card_says(world, tmp_path, kind, monkeypatch):
    monkeypatch.setenv("WHISPER_SPACES_CACHE", str(tmp_path / "cache"))
    base = incomplete(world[0], tmp_path / "base", pickled=kind == "pickled weights", forced=kind == "forced ids")
    method = Method(kind="lora", lora_rank=2) if kind == "pickled weights" else Method()
    run = train(short((base, world[1]), tmp_path, method=method), say=quiet)
    generation = json.loads((run / "model" / "generation_config.json").read_text())
    stock = json.loads((world[0] / "generation_config.json").read_text())
    assert generation.get("forced_decoder_ids") is None
    for key in ("lang_to_id", "task_to_id", "no_timestamps_token_id", "is_multilingual", "begin_suppress_tokens"):
        assert generation[key] == stock[key], key
    assert set(stock["suppress_tokens"]) - set(generation["suppress_tokens"]) <= {15618, 50254}  # two rare marks
    assert not json.loads((run / "model" / "config.json").read_text()).get("forced_decoder_ids")
    works_as_the_card_says(run)
    opened = WhisperForConditionalGeneration.from_pretrained(run / "model")
    assert opened.generation_config.language == "it"


def test_weights_that_are_missing_from_a_base_are_not_made_up(world, tmp_path):
    from safetensors.torch import save_file

    base = random_base(tmp_path / "base", seed=1)
    weights = load_file(base / "model.safetensors")
    del weights["model.decoder.layers.1.fc1.weight"]
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"not complete.*decoder.layers.1.fc1"):
        load_base(tiny((base, world[1]), tmp_path))


def test_what_run_json_says(world, tmp_path):
    config = tiny(world, tmp_path, language_tokens={"ga": "cy"}, add_tokens=True)
    run = describe(config, Checkpoint("a/b", "c" * 40), ("it", "ga"))
    assert (run["finetuned_languages"], run["language"], run["added_tokens"]) == (
        ["it", "ga"], None, {"<|ga|>": "<|cy|>"})
