"""training.finetune from start to end on a two-layer model, killed and taken up again."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import weakref
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from paths import ROOT
from safetensors.torch import load_file
from training_world import TRAIN, random_world, tiny
from transformers import AutoProcessor, WhisperForConditionalGeneration

from shared.audio import load_audio
from shared.audio.features import log_mel
from shared.checkpoint import facts
from shared.errors import UserError
from training import config as settings
from training.config import Config, Method, Steps
from training.finetune import COMPLETE, _prepared, fastest_precision, let_go, main, train
from training.model import plain


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> tuple[Path, Path]:
    return random_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """As in the processes that are started, so that both add up in the same order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model" / "model.safetensors")


def start(config: Config, path: Path) -> subprocess.Popen:
    settings.save(config, path)
    return subprocess.Popen([sys.executable, "-m", "training.finetune", str(path)], cwd=ROOT, text=True,
                            env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT)


@pytest.fixture(scope="module")
def finished(world, tmp_path_factory) -> Path:
    """A run of the whole model that nothing disturbed."""
    out = tmp_path_factory.mktemp("runs")
    settings.save(tiny(world, out), out / "run.yaml")
    assert main([str(out / "run.yaml")]) == 0
    return out / "run"


def test_a_run_learns_and_leaves_a_checkpoint_that_transformers_opens(finished, world):
    history = json.loads((finished / "history.json").read_text())
    losses = [entry["eval_loss"] for entry in history if "eval_loss" in entry]
    assert len(losses) == 3 and losses[-1] < losses[0]
    model = WhisperForConditionalGeneration.from_pretrained(finished / "model")
    processor = AutoProcessor.from_pretrained(finished / "model")
    samples = load_audio(ROOT / "tests" / "data" / TRAIN[0]).samples
    ids = model.generate(torch.from_numpy(log_mel(samples, 80, 3000))[None], max_new_tokens=20)
    assert processor.decode(ids[0], skip_special_tokens=True).strip()
    assert model.config.architectures == ["WhisperForConditionalGeneration"]
    found = facts(finished / "model")
    assert (found.languages, found.short_context) == (("it", "en", "es", "ru"), "any")
    run = json.loads((finished / "model" / "run.json").read_text())
    assert run["config"]["steps"]["max_steps"] == 6 and run["validation_wer"] is not None
    assert run["peak_mb"] > 200  # MB: torch alone takes that
    for folder in (finished / "model", *finished.glob("checkpoint-*")):
        assert {"preprocessor_config.json", "processor_config.json", "tokenizer.json", "generation_config.json"} <= {
            path.name for path in folder.iterdir()}


def test_starting_a_finished_run_again_changes_nothing(finished, world):
    before = (finished / "model" / "model.safetensors").stat().st_mtime_ns
    train(tiny(world, finished.parent), say=lambda text: None)
    assert (finished / "model" / "model.safetensors").stat().st_mtime_ns == before


@pytest.mark.slow
def test_killed_while_it_writes_a_checkpoint_it_ends_with_the_same_weights(finished, world, tmp_path):
    """SIGKILL as soon as the second checkpoint's folder appears: the write is under way."""
    process = start(tiny(world, tmp_path), tmp_path / "run.yaml")
    folder = tmp_path / "run" / "checkpoint-4"
    while not folder.exists() and process.poll() is None:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (folder / COMPLETE).exists()
    assert main([str(tmp_path / "run.yaml")]) == 0
    same_weights(finished, tmp_path / "run")


@pytest.mark.slow
def test_killed_twenty_times_at_random_it_ends_with_the_same_weights(finished, world, tmp_path):
    rng = random.Random(7)
    kills = 0
    while kills < 20:
        process = start(tiny(world, tmp_path), tmp_path / "run.yaml")
        try:
            process.communicate(timeout=rng.uniform(5, 30))
            break
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            kills += 1
    train(tiny(world, tmp_path), say=lambda text: None)
    same_weights(finished, tmp_path / "run")


@pytest.mark.slow
def test_two_processes_learn_what_one_learns_with_accumulation(world, tmp_path):
    """torchrun with two CPU processes (gloo) against one process that accumulates two batches."""
    alike = replace(tiny(world, tmp_path).steps, max_steps=2, batch_size=1)
    alone = train(tiny(world, tmp_path, "one", steps=replace(alike, accumulation=2)), say=lambda text: None)
    config = tiny(world, tmp_path, "two", steps=alike)
    settings.save(config, tmp_path / "two.yaml")
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--master_port=29517",
               "-m", "training.finetune", str(tmp_path / "two.yaml")]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, timeout=300,
                          env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr[-2000:]
    for metric in ("loss", "eval_wer", "eval_cer"):
        one, two = ([entry[metric] for entry in json.loads((folder / "history.json").read_text()) if metric in entry]
                    for folder in (alone, tmp_path / "two"))
        assert one and one == pytest.approx(two, rel=1e-3), metric
    for (name, weight), (_, other) in zip(weights(alone).items(), weights(tmp_path / "two").items(), strict=True):
        assert torch.allclose(weight, other, atol=1e-4), name


def test_a_folder_with_another_run_is_refused(finished, world, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "model")
    steps = tiny(world, tmp_path).steps
    changed = tiny(world, tmp_path, steps=replace(steps, learning_rate=5e-4))
    with pytest.raises(UserError, match="steps"):
        train(changed, say=lambda text: None)


def same_weights(one: Path, other: Path) -> None:
    for (name, weight), (_, theirs) in zip(weights(one).items(), weights(other).items(), strict=True):
        assert torch.allclose(weight, theirs, atol=1e-6), name


def test_a_lora_run_gives_an_adapter_and_its_merged_model(world, tmp_path):
    steps = replace(tiny(world, tmp_path).steps, max_steps=1, eval_steps=5, warmup=0.0)  # ends before it is evaluated
    config = tiny(world, tmp_path, method=Method(kind="lora", lora_rank=2), steps=steps)
    messages: list[str] = []
    folder = train(config, say=messages.append)
    run = json.loads((folder / "run.json").read_text())
    assert run["step"] == 1 and run["validation_wer"] is not None
    adapter = json.loads((folder / "adapter" / "adapter_config.json").read_text())
    assert adapter["base_model_name_or_path"] == str(world[0])
    assert (folder / "adapter" / "adapter_model.safetensors").stat().st_size < 1_000_000
    changed = [name for name, weight in weights(folder).items()
               if not torch.equal(weight, load_file(world[0] / "model.safetensors")[name])]
    assert changed and all("proj" in name or "fc" in name for name in changed)
    text = "\n".join(messages)
    for word in ("trained: lora", "memory:", "disk:", "time: about", "labels:", "clips a second"):
        assert word in text


def test_a_finished_run_is_not_taken_for_one_with_other_settings(finished, world, tmp_path):
    folder = tmp_path / "done"
    shutil.copytree(finished, folder)
    given = settings.load(folder / "config.yaml")
    same = replace(given, name="done", out=str(tmp_path))
    settings.save(same, folder / "config.yaml")
    assert train(same, say=lambda text: None) == folder
    with pytest.raises(UserError, match=r"other settings.*steps differ"):
        train(replace(same, steps=replace(same.steps, max_steps=99)), say=lambda text: None)


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_last_good_checkpoint(world, tmp_path):
    """transformers leaves NaN out of its log, goes on, and ends with "done"."""
    steps = replace(tiny(world, tmp_path).steps, learning_rate=1e30, eval_steps=1)  # the first step of a warmup is 0
    with pytest.raises(UserError, match=r"not a number.*learning rate 1e\+30.*float32.*checkpoint-1") as refused:
        train(tiny(world, tmp_path, steps=steps), say=lambda text: None)
    kept = tmp_path / "run" / "checkpoint-1"
    assert (kept / COMPLETE).is_file() and str(kept) in refused.value.hint
    assert all(torch.isfinite(weight).all() for weight in load_file(kept / "model.safetensors").values())
    assert not (tmp_path / "run" / "model").exists()
    short = replace(steps, eval_steps=50, max_steps=2)  # no evaluation on the way: the last one finds it
    with pytest.raises(UserError, match=r"not a number.*no checkpoint yet"):
        train(tiny(world, tmp_path, "short", steps=short), say=lambda text: None)


@pytest.mark.slow
def test_the_model_has_gone_when_its_merged_copy_is_made(world, tmp_path):
    """A large base would be in memory twice. Whatever comes to hold the model as well must let it go."""
    steps = replace(tiny(world, tmp_path).steps, max_steps=1, eval_steps=1)
    config = tiny(world, tmp_path, method=Method(kind="lora"), steps=steps)
    trainer = _prepared(config, lambda line: None, measured=False)
    trainer.train()
    held = weakref.ref(plain(trainer.model))
    let_go(trainer)
    assert held() is None


@pytest.mark.parametrize(("width", "kind", "rate"), [
    (384, "full", 3.75e-5), (512, "full", 2.5e-5), (768, "full", 1.25e-5), (1280, "full", 4.375e-6),
    (1000, "full", 6.25e-6), (64, "full", 3.75e-5), (2048, "full", 4.375e-6), (512, "lora", 5e-4),
    (1280, "lora", 8.75e-5),
])
def test_the_learning_rate_follows_the_size_of_the_base_and_the_method(width, kind, rate):
    assert settings.usual_rate(width, kind) == pytest.approx(rate)


def test_a_rate_that_is_not_given_is_written_out_and_kept(world, tmp_path):
    """The run's folder has the number; the same command without one goes on with it, and another's is another run."""
    unset = tiny(world, tmp_path, steps=Steps(max_steps=2, batch_size=2, eval_steps=2, patience=0))
    begun = _prepared(unset, lambda line: None, measured=False).config
    assert begun.steps.learning_rate == pytest.approx(3.75e-5)  # of the narrowest
    assert settings.same_run(unset, begun) == begun
    with pytest.raises(UserError, match="steps differ"):
        settings.same_run(replace(unset, steps=replace(unset.steps, learning_rate=1e-4)), begun)


def test_a_precision_that_is_not_given_is_this_machines_and_a_begun_run_may_go_on_in_another(world, tmp_path):
    steps = replace(tiny(world, tmp_path).steps, precision=None, max_steps=2)
    config = tiny(world, tmp_path, steps=steps)
    folder = train(config, say=lambda line: None)
    assert settings.of_run(folder).steps.precision == fastest_precision()
    shutil.rmtree(folder / "model")
    other = replace(settings.of_run(folder).steps, precision="float32" if fastest_precision() != "float32" else "bf16")
    settings.save(replace(config, steps=other), folder / "config.yaml")  # as if it had begun on another machine
    assert train(config, say=lambda line: None) == folder
    assert settings.of_run(folder).steps.precision == fastest_precision()


