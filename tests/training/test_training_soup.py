"""training.soup: runs mixed into one checkpoint, on small models that write one word, and real clips."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pyarrow import parquet
from safetensors.torch import load_file
from training_world import random_base, small_data, tiny

from shared.checkpoint import facts
from shared.checkpoint.adapter import merge_adapter
from shared.errors import UserError
from training import evaluation
from training.card import write_card
from training.config import Method
from training.facts import gather
from training.finetune import train
from training.publish import first_text
from training.soup import Options, soup

CLIPS = ["it_priv-introsaved.flac", "it_vm-mailboxfull.flac"]


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("world")
    data = small_data(folder / "set", train=CLIPS, validation=["it_vm-tmpexists.flac"], test=["en_austen-0930.flac"])
    return random_base(folder / "base", writes="ciao"), data


@pytest.fixture(scope="module")
def runs(world, tmp_path_factory) -> list[Path]:
    """Two LoRA runs that differ in their seed, rank and scale."""
    out = tmp_path_factory.mktemp("runs")
    configs = [tiny(world, out, f"seed-{seed}", seed=seed, method=Method("lora", lora_rank=seed + 1, lora_alpha=4))
               for seed in (1, 2)]
    short = [replace(config, steps=replace(config.steps, max_steps=2, warmup=0.0)) for config in configs]
    return [train(config, say=lambda text: None) for config in short]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def test_the_mixture_is_the_mean_of_the_runs_and_a_share_of_the_base(world, runs, tmp_path):
    out = soup(tmp_path / "soup", runs, Options((0.25,)), say=lambda text: None)
    base, mixed = weights(world[0]), weights(out / "model")
    one, other = (weights(run / "model") for run in runs)
    assert set(mixed) == set(one)
    for name, weight in mixed.items():
        expected = 0.75 * (one[name] + other[name]) / 2 + 0.25 * base[name].float()
        assert torch.allclose(weight, expected, atol=1e-6), name
    assert not torch.equal(one["model.decoder.layers.0.fc1.weight"], other["model.decoder.layers.0.fc1.weight"])
    merge_adapter(world[0], out / "adapter", tmp_path / "merged")  # the same mixture, as one adapter
    merged = weights(tmp_path / "merged")
    assert all(torch.allclose(merged[name].float(), weight, atol=1e-6) for name, weight in mixed.items())
    run = json.loads((out / "run.json").read_text())
    assert [part["name"] for part in run["parts"]] == ["seed-1", "seed-2"] and run["base_share"] == 0.25
    assert facts(out / "model").short_context == "any"


def test_the_share_of_the_base_is_the_one_that_does_best_on_the_validation_split(runs, tmp_path):
    """The base writes a word that nobody said, the run one of the validation clip."""
    shutil.copytree(runs[0], tmp_path / "run")
    random_base(tmp_path / "other", writes="standard")
    shutil.copy(tmp_path / "other" / "model.safetensors", tmp_path / "run" / "model")
    messages: list[str] = []
    out = soup(tmp_path / "soup", [tmp_path / "run"], Options((0.9, 0.1, 0.5)), say=messages.append)
    rows = [line.split() for line in messages if line.startswith("base ")]
    rates = {int(row[1][:-1]) / 100: (float(row[4]), float(row[7])) for row in rows}
    assert list(rates) == [0.9, 0.1, 0.5]
    run = json.loads((out / "run.json").read_text())
    assert rates[0.1] < rates[0.9] and rates[run["base_share"]] == min(rates.values())
    assert run["validation_wer"] == pytest.approx(rates[run["base_share"]][0], abs=0.01)


def test_the_share_may_be_chosen_on_other_speech(runs, tmp_path):
    """There somebody says what the base writes, and the run never."""
    shutil.copytree(runs[0], tmp_path / "run")
    random_base(tmp_path / "other", writes="standard")
    shutil.copy(tmp_path / "other" / "model.safetensors", tmp_path / "run" / "model")
    other = small_data(tmp_path / "elsewhere", validation=["it_vm-tmpexists.flac"])
    (path,) = (other / "data").glob("validation-*.parquet")
    rows = parquet.read_table(path)
    place = rows.schema.get_field_index("text")
    parquet.write_table(rows.set_column(place, rows.schema.field(place), [["ciao"] * len(rows)]), path)
    chosen = [json.loads((soup(tmp_path / name, [tmp_path / "run"], Options((0.9, 0.1), validation=where),
                               say=lambda text: None) / "run.json").read_text())["base_share"]
              for name, where in (("own", ""), ("theirs", str(other)))]
    assert chosen == [0.1, 0.9]
    english = small_data(tmp_path / "english", validation=["en_austen-0930.flac"])
    with pytest.raises(UserError, match=r"another language.*Got: en.*Limit: it"):
        soup(tmp_path / "none", [tmp_path / "run"], Options((0.9, 0.1), validation=str(english)))
    with pytest.raises(UserError, match="nothing to choose"):
        soup(tmp_path / "none", [tmp_path / "run"], Options((0.9,), validation=str(other)))
    with pytest.raises(UserError, match="no validation split"):
        soup(tmp_path / "none", [tmp_path / "run"], Options((0.9, 0.1), validation=str(tmp_path)))


def test_a_mixture_is_evaluated_and_described_as_any_run_is(runs, tmp_path):
    out = soup(tmp_path / "soup", runs, Options((0.1,)), say=lambda text: None)
    evaluation.evaluate(out, evaluation.Options(full_context=False), say=lambda text: None)
    card = write_card(gather(out), "someone/soup")
    assert "mean of the weights of 2 run(s) with 10% of the base" in card
    assert "seed 1" in card and "seed 2" in card and "a share that was given" in card
    assert first_text(out / "model", gather(out)) == "ciao"  # opened from disk, as before it is published
    again = soup(out, runs, Options((0.3,)), say=lambda text: None)  # a mixture may be made anew
    assert json.loads((again / "run.json").read_text())["base_share"] == 0.3


def test_what_does_not_belong_together_is_refused(runs, tmp_path):
    english = Path(shutil.copytree(runs[0], tmp_path / "english"))
    described = json.loads((english / "run.json").read_text())
    (english / "run.json").write_text(json.dumps(described | {"finetuned_languages": ["en"]}))
    mixed = soup(tmp_path / "mixed", runs, Options((0.0,)), say=lambda text: None)
    refused = [
        ("mixture already", [mixed], Options(), tmp_path / "soup"),
        ("language differs", [runs[0], english], Options(), tmp_path / "soup"),
        ("no model yet", [tmp_path / "nothing"], Options(), tmp_path / "soup"),
        ("holds something else", runs, Options(), english),
        ("shares of the base", runs, Options((0.0, 1.0)), tmp_path / "soup"),
    ]
    for text, given, options, out in refused:
        with pytest.raises(UserError, match=text):
            soup(out, given, options, say=lambda text: None)
    assert not (tmp_path / "soup").exists()
