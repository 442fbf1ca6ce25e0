"""training.data, schedule and augment: what the model is fed, on real clips."""

from __future__ import annotations

import csv
import json

import datasets
import numpy as np
import pytest
import yaml
from paths import DATA, ROOT
from transformers import WhisperProcessor

from shared.audio import SAMPLE_RATE, load_audio
from shared.audio.features import log_mel
from shared.checkpoint import MODELS
from shared.checkpoint.embedded import embedded_base_transformers
from shared.errors import UserError
from training.augment import add_noise, change_speed, reverberate, spec_augment, telephone_band, wave_augment
from training.config import Augment, Config, Context, Data, Extra, checked, load, of, of_run, save
from training.data import IGNORED, Clips, Collator, open_split
from training.schedule import Draw, LengthGrouped, mixed

CONFIGS = ROOT / "training" / "configs"


def rows_of_clips() -> list[dict]:
    with (DATA / "clips.csv").open(encoding="utf-8") as file:
        clips = list(csv.DictReader(file))
    return [{
        "id": f"clips/{clip['file']}", "audio": {"bytes": (DATA / clip["file"]).read_bytes(), "path": clip["file"]},
        "text": clip["text"], "language": clip["language"], "speaker": None,
        "duration": load_audio(DATA / clip["file"]).duration, "source": "clips",
    } for clip in clips if not clip["file"].endswith(".g722")]  # raw G.722 has no header to know it by


@pytest.fixture(scope="module")
def rows() -> datasets.Dataset:
    return datasets.Dataset.from_list(rows_of_clips())


@pytest.fixture(scope="module")
def tokenizer():
    return WhisperProcessor.from_pretrained(embedded_base_transformers()).tokenizer


def config(**changed) -> Config:
    return Config(name="t", data=(Data("nowhere"),), language="it", **changed)


def collator(tokenizer, training=True, multilingual=True, **changed) -> Collator:
    return Collator(config(**changed), tokenizer, 80, multilingual, training)


def test_features_are_those_of_serving_and_the_context_is_cropped(rows, tokenizer):
    clips = Clips(rows, config(), training=True)
    examples = [clips[Draw(i, i)] for i in range(3)]
    batch = collator(tokenizer, context=Context(full_probability=0.0))(examples)
    n_frames = batch["input_features"].shape[-1]
    longest = max(len(example.samples) for example in examples) / SAMPLE_RATE
    assert n_frames % 2 == 0 and longest + 0.2 <= n_frames / 100 <= longest + 3.02
    for example, features in zip(examples, batch["input_features"].numpy(), strict=True):
        assert np.array_equal(features, log_mel(example.samples, 80, n_frames))
    full = collator(tokenizer, context=Context(crop=False))(examples)
    assert full["input_features"].shape == (3, 80, 3000)


def test_labels_hold_one_start_token_and_are_shifted_by_one(rows, tokenizer):
    example = Clips(rows, config(), training=True)[Draw(0, 0)]
    decoder_input, labels = collator(tokenizer).tokens(example)
    prefix = tokenizer.convert_tokens_to_ids(
        ["<|startoftranscript|>", f"<|{example.language}|>", "<|transcribe|>", "<|notimestamps|>"])
    assert decoder_input[:4] == prefix and decoder_input.count(prefix[0]) == 1
    assert labels[:-1] == decoder_input[1:] and labels[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(labels, skip_special_tokens=True) == " " + rows[0]["text"]


def test_english_only_checkpoints_get_no_language_token(rows, tokenizer):
    example = Clips(rows, config(), training=True)[Draw(0, 0)]
    decoder_input, _ = collator(tokenizer, multilingual=False).tokens(example)
    assert decoder_input[:2] == tokenizer.convert_tokens_to_ids(["<|startoftranscript|>", "<|notimestamps|>"])


def test_padding_is_ignored_and_only_padding(rows, tokenizer):
    clips = Clips(rows, config(), training=True)
    examples = [clips[Draw(i, i)] for i in range(4)]
    batch = collator(tokenizer)(examples)
    for example, labels in zip(examples, batch["labels"], strict=True):
        n_tokens = len(collator(tokenizer).tokens(example)[1])
        assert (labels[n_tokens:] == IGNORED).all() and (labels[:n_tokens] != IGNORED).all()


def test_joined_clips_carry_times_in_order_and_all_text(rows, tokenizer):
    clips = Clips(rows, config(extra=Extra(join=1.0)), training=True)
    example = clips[Draw(0, 7, (1, 2))]
    assert example.stamped and len(example.texts) == 3
    assert len(example.samples) == sum(len(load_audio(rows[i]["audio"]["bytes"]).samples) for i in range(3))
    _, labels = collator(tokenizer).tokens(example)
    times = [(token - 50364) * 0.02 for token in labels if 50364 <= token < 51865]
    assert len(times) == 6 and times == sorted(times)
    assert times[-1] <= len(example.samples) / SAMPLE_RATE
    text = tokenizer.decode([token for token in labels if token < 50257])
    assert all(rows[i]["text"] in text for i in range(3))


def test_earlier_text_is_given_but_not_learned(rows, tokenizer):
    clips = Clips(rows, config(extra=Extra(prompt=1.0)), training=True)
    example = next(found for found in (clips[Draw(0, n)] for n in range(50)) if found.prompt)
    decoder_input, labels = collator(tokenizer).tokens(example)
    start = decoder_input.index(tokenizer.convert_tokens_to_ids("<|startoftranscript|>"))
    assert decoder_input[0] == tokenizer.convert_tokens_to_ids("<|startofprev|>")
    assert labels[:start] == [IGNORED] * start and IGNORED not in labels[start:]
    assert tokenizer.decode(decoder_input[1:start]) == " " + example.prompt


def test_silence_has_empty_text(rows, tokenizer):
    example = Clips(rows, config(extra=Extra(silence=1.0)), training=True)[Draw(0, 3)]
    assert len(collator(tokenizer).tokens(example)[1]) == 4  # language, task, no times, end
    assert np.abs(example.samples).max() < 0.7


def test_the_same_draw_gives_the_same_example_and_another_draw_another(rows, tokenizer):
    loud = config(augment=Augment(noise=1.0, gain=1.0, speed=1.0, telephone=1.0, reverb=1.0, spec_augment=1.0,
                                  masks=3))
    first, again = (Clips(rows, loud, training=True) for _ in range(2))
    assert np.array_equal(first[Draw(1, 5)].samples, again[Draw(1, 5)].samples)
    assert not np.array_equal(first[Draw(1, 5)].samples, again[Draw(1, 6)].samples)
    make = Collator(loud, tokenizer, 80, True, True)
    batches = [make([clips[Draw(1, 5)], clips[Draw(2, 6)]])["input_features"] for clips in (first, again)]
    assert np.array_equal(*batches)


def test_evaluation_changes_nothing(rows, tokenizer):
    loud = config(augment=Augment(noise=1.0, speed=1.0, spec_augment=1.0), extra=Extra(silence=1.0, prompt=1.0))
    example = Clips(rows, loud, training=False)[2]
    assert np.array_equal(example.samples, load_audio(rows[2]["audio"]["bytes"]).samples)
    assert example.texts[0].text == rows[2]["text"] and not example.prompt
    one, two = (Collator(loud, tokenizer, 80, True, False)([example])["input_features"] for _ in range(2))
    assert np.array_equal(one, two)


def test_an_epoch_holds_each_clip_once_in_batches_of_like_length():
    durations = np.random.default_rng(0).uniform(1, 20, 103)
    sampler = LengthGrouped(durations, 8, seed=3)
    drawn = list(sampler)
    assert sorted(draw.row for draw in drawn) == list(range(103))
    assert [draw.number for draw in drawn] == list(range(103))
    spread = [np.ptp(durations[[draw.row for draw in drawn[i : i + 8]]]) for i in range(0, 96, 8)]
    assert np.mean(spread) < 3
    assert list(sampler) == drawn
    sampler.set_epoch(1)
    assert [draw.row for draw in sampler] != [draw.row for draw in drawn]
    assert next(iter(sampler)).number == 103


def test_joined_draws_fit_into_30_seconds():
    durations = np.random.default_rng(0).uniform(1, 20, 60)
    drawn = list(LengthGrouped(durations, 8, seed=3, join=0.5))
    joined = [draw for draw in drawn if draw.others]
    assert 10 < len(joined) < 50
    assert all(durations[[draw.row, *draw.others]].sum() <= 30 for draw in joined)


def test_data_sets_are_mixed_by_weight():
    shares = mixed([90, 10], [1.0, 1.0])
    assert shares.sum() == pytest.approx(1) and shares[:90].sum() == pytest.approx(0.5)
    assert mixed([90, 10], [None, None]) is None
    drawn = [draw.row for draw in LengthGrouped(np.ones(100), 10, seed=1, shares=shares)]
    assert 30 < sum(index >= 90 for index in drawn) < 70


def test_augmentation_keeps_type_range_and_what_it_should():
    samples = load_audio(DATA / "it_vm-mailboxfull.flac").samples
    rng = np.random.default_rng(1)
    noisy = add_noise(samples, 20, pink=True, rng=rng)
    measured = 10 * np.log10(np.mean(samples**2) / np.mean((noisy - samples) ** 2))
    assert measured == pytest.approx(20, abs=0.1)
    assert len(change_speed(samples, 1.1)) == int(len(samples) / 1.1)
    power = np.abs(np.fft.rfft(telephone_band(samples))) ** 2
    hertz = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE)
    assert power[(hertz < 290) | (hertz > 3410)].sum() < 1e-6 * power.sum()
    every = wave_augment(samples, Augment(1.0, 1.0, 1.0, 1.0), rng)
    assert every.dtype == np.float32 and np.abs(every).max() <= 1
    assert wave_augment(samples, Augment(), rng) == pytest.approx(samples)
    mel = log_mel(samples)
    masked = spec_augment(mel, 1.0, rng)
    assert masked.shape == mel.shape and 0 < np.mean(masked != mel) < 0.4
    many = spec_augment(mel, 1.0, rng, masks=8)
    assert np.mean(masked != mel) < np.mean(many != mel) < 0.95


def test_a_room_is_heard_after_each_sound_and_nothing_before_it():
    samples = np.zeros(2 * SAMPLE_RATE, dtype=np.float32)
    samples[SAMPLE_RATE] = 0.5
    heard = reverberate(samples, 0.3, np.random.default_rng(1))
    assert heard.dtype == np.float32 and len(heard) == len(samples)
    assert np.sum(heard**2) == pytest.approx(np.sum(samples**2), rel=0.01)
    assert np.abs(heard[: SAMPLE_RATE - 1]).max() < 1e-6
    tail = heard[SAMPLE_RATE + 1 : SAMPLE_RATE + int(0.3 * SAMPLE_RATE)] ** 2
    early, late = tail[: len(tail) // 6].mean(), tail[-len(tail) // 6 :].mean()
    assert 10 * np.log10(early / late) == pytest.approx(50, abs=3)  # 60 dB over the whole
    assert np.abs(heard[SAMPLE_RATE + int(0.31 * SAMPLE_RATE) :]).max() < 1e-6
    assert not reverberate(np.zeros(800, dtype=np.float32), 0.5, np.random.default_rng(1)).any()


def test_config_round_trip_overrides_and_refusals(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("name: x\ndata: [{path: d}]\nlanguage: it\n")
    loaded = load(path, ["steps.max_steps=7", "data.0.weight=2", "method.kind=lora"])
    assert (loaded.steps.max_steps, loaded.data[0].weight, loaded.method.kind) == (7, 2.0, "lora")
    save(loaded, tmp_path / "again.yaml")
    assert load(tmp_path / "again.yaml") == loaded
    more = load(path, ["data.1.path=e", "data.1.weight=2"])
    assert [(one.path, one.weight) for one in more.data] == [("d", None), ("e", 2.0)]
    for override, message in [("steps.max_step=7", "max_steps"), ("steps.max_steps=many", "a whole number"),
                           ("seed", "key=value"),
                           ("data.x.path=3", "count from 0"), ("data.2.path=d", "0 to 1"),
                           ("language.x=1", "plain value"),
                           ("augment.noise=2", "probability"), ("augment.masks=0", "masks"),
                           ("context.tail_seconds=[3,1]", "shorter"),
                           ("method.kind=magic", "lora"), ("steps.learning_rate=.nan", "learning_rate is out of range"),
                           ("steps.learning_rate=0", "out of range"), ("steps.warmup=5", "Limit: 0 to 1"),
                           ("steps.max_grad_norm=-1", "out of range"), ("method.lora_alpha=0", "Limit: 1 to"),
                           ("method.lora_dropout=1", "out of range"), ("seed=-1", "out of range"),
                           ("context.full_probability=2", "out of range"), ("data.0.weight=0", "weight is above 0"),
                           ("name=../x", "name of a folder"), ("name=..", "name of a folder")]:
        with pytest.raises(UserError, match=message):
            load(path, [override])
    with pytest.raises(UserError, match="italian"):
        load(tmp_path / "none.yaml")
    assert checked(loaded) is loaded


def test_a_run_of_an_earlier_version_can_be_read(tmp_path):
    """The shipped adapter's: its settings have a key that is gone. In a person's own config that key is refused."""
    run = json.loads((MODELS / "whisper-base-it/run.json").read_text(encoding="utf-8"))
    values = run["config"] | {"steps": run["config"]["steps"] | {"eval_max_tokens": 225}}
    found = of(values)
    assert (found.name, found.steps.max_steps, found.method.kind) == ("italian-lora", 150, "lora")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    assert of_run(tmp_path) == found
    with pytest.raises(UserError, match=r"unknown key.*eval_max_tokens"):
        load(tmp_path / "config.yaml")
    with pytest.raises(UserError, match="unknown key"):
        of(values | {"steps": values["steps"] | {"nonsense": 1}})


def test_a_missing_split_is_named(tmp_path):
    with pytest.raises(UserError, match="validation"):
        open_split(Data(str(tmp_path)), "validation")


@pytest.mark.parametrize("path", sorted({*CONFIGS.glob("*.yaml")} - {CONFIGS / "languages.yaml"}),
                         ids=lambda path: path.stem)
def test_the_configs_that_are_shipped_are_legal(path):
    assert load(path).name == path.stem
