"""What a run finds out before it starts: data that would spoil it, batches that do not fit, and what it says of it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from paths import ROOT
from training_world import TRAIN, random_world, small_base, small_data, tiny

from shared.errors import UserError
from training import preflight
from training.batch_fit import Trial, fitted
from training.config import Data, Steps
from training.data import Clips, Collator, open_split
from training.finetune import _prepared, train
from training.model import load_base, trainable


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> tuple[Path, Path]:
    return random_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def real_world(world, tmp_path_factory) -> tuple[Path, Path]:
    """The same clips with real weights, where it is memory that is tested."""
    return small_base(tmp_path_factory.mktemp("real") / "base"), world[1]


def test_the_preflight_refuses_what_would_spoil_the_run(world, tmp_path):
    leaky = small_data(tmp_path / "leaky", train=TRAIN, validation=["it_vm-tmpexists.flac"], test=TRAIN[:1])
    refused = [
        ("test split are in train", tiny((world[0], leaky), tmp_path)),
        ("held-out clip", tiny(world, tmp_path, held_out=("it_vm-mailboxfull.flac",))),
        ("no token for the language", tiny(world, tmp_path, language="qq")),
        ("No clip is in the run's language", tiny(world, tmp_path, language="sv")),
    ]
    for text, config in refused:
        with pytest.raises(UserError, match=text):
            train(config, say=lambda text: None)
    assert not (tmp_path / "run").exists()


def test_the_same_text_in_another_language_is_no_leak(world, tmp_path):
    """Names of letters are written alike: a set replayed in another language may hold them."""
    config, messages = tiny(world, tmp_path), []
    _, _, processor = load_base(config)
    train_rows, validation = (open_split(config.data[0], split) for split in ("train", "validation"))
    test = small_data(tmp_path / "other", train=TRAIN[1:2], validation=TRAIN[1:2], test=TRAIN[:1])
    foreign = open_split(Data(str(test), language="ru"), "test")
    preflight.check_data(config, processor.tokenizer, train_rows, validation, [foreign], True, messages.append)
    with pytest.raises(UserError, match="test split are in train"):
        preflight.check_data(config, processor.tokenizer, train_rows, validation, [open_split(Data(str(test)), "test")],
                             True, messages.append)


def test_what_another_data_set_holds_back_is_not_learned_from(world, tmp_path):
    """No build can keep two data sets apart, and everyday sentences are in many."""
    one = small_data(tmp_path / "one", train=TRAIN, validation=["it_vm-tmpexists.flac"], test=["it_vm-tmpexists.flac"])
    other = small_data(tmp_path / "other", train=TRAIN[:2], validation=TRAIN[2:3], test=["it_vm-tmpexists.flac"])
    config, messages = replace(tiny(world, tmp_path), data=(Data(str(one)), Data(str(other)))), []
    sources = [open_split(source, "train") for source in config.data]
    first, second = preflight.apart(config, sources, messages.append)
    assert set(sources[0]["text"]) - set(first["text"]) == set(open_split(config.data[1], "validation")["text"])
    assert second["id"] == sources[1]["id"] and len(messages) == 1
    assert f"1 of {len(TRAIN)} clips of one" in messages[0]
    same = replace(config, data=config.data[:1])
    assert preflight.apart(same, sources[:1], messages.append)[0] is sources[0]
    all_held = small_data(tmp_path / "held", train=["it_vm-tmpexists.flac"], validation=TRAIN, test=TRAIN)
    with pytest.raises(UserError, match="Nothing is left to learn from"):
        preflight.apart(replace(config, data=(Data(str(one)), Data(str(all_held)))),
                        [sources[0], open_split(Data(str(all_held)), "train")], messages.append)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system refuses memory, and that is caught")
def test_a_batch_that_would_not_fit_is_halved_before_it_is_tried(world, tmp_path):
    config = tiny(world, tmp_path, steps=Steps(batch_size=8, accumulation=1))
    checkpoint, model, processor = load_base(config)
    clips = Clips(open_split(config.data[0], "train").select([0] * 8), config, True)
    collator = Collator(config, processor.tokenizer, 80, True, True)
    model, sizes = trainable(model, config, checkpoint), {}
    for free in (60.0, 1e6):  # MB; one clip at 30 s takes about a hundred, each further one up to 40
        messages: list[str] = []
        found, _, _ = fitted(config, Trial(model, clips, collator, "cpu", messages.append), lambda free=free: free)
        sizes[free] = found.steps.batch_size
        assert found.steps.batch_size * found.steps.accumulation == 8
        assert any("would take" in line for line in messages) == (found.steps.batch_size < 8)
    assert sizes[60.0] < sizes[1e6] == 8


OUT_OF_MEMORY = """
import resource, sys
sys.path.insert(0, "tests/support")
from pathlib import Path
from training_world import tiny
from training.config import Steps
from training import preflight
from training.batch_fit import STEPS_BETWEEN_RELEASES, ReleaseFreeMemory, Trial, fitted, growth_mb, peak_mb
from training.data import Clips, Collator, open_split
from training.model import load_base, trainable
base, data, out = map(Path, sys.argv[1:])
config = tiny((base, data), out, steps=Steps(batch_size=32, accumulation=1))
checkpoint, model, processor = load_base(config)
model = trainable(model, config, checkpoint)
clips = Clips(open_split(config.data[0], "train").select([0] * 32), config, True)
now = int(Path("/proc/self/statm").read_text().split()[0]) * 4096
resource.setrlimit(resource.RLIMIT_AS, (now + 1_600_000_000,) * 2)
fitted = preflight.measure(config, model, clips, Collator(config, processor.tokenizer, 80, True, True))
print("fitted", fitted.steps.batch_size, fitted.steps.accumulation)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
def test_out_of_memory_halves_the_batch_and_says_so(real_world, tmp_path):
    done = subprocess.run([sys.executable, "-c", OUT_OF_MEMORY, *map(str, (*real_world, tmp_path))], cwd=ROOT,
                          text=True, capture_output=True, timeout=1200, env={
                              **os.environ, "OMP_NUM_THREADS": "1",
                              "MALLOC_MMAP_THRESHOLD_": "1000000"})  # the limit is on addresses: no holes in the heap
    assert "out of memory with 32 clips a batch" in done.stdout, done.stdout + done.stderr
    assert "fitted " in done.stdout, done.stdout + done.stderr
    size, accumulation = map(int, done.stdout.split("fitted ")[1].split())
    assert size < 32 and size * accumulation == 32


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU does it")
def test_what_the_machine_cannot_do_is_known_before_the_preflight(world, tmp_path):
    steps = replace(tiny(world, tmp_path).steps, precision="fp16")
    with pytest.raises(UserError, match="fp16 needs a GPU"):
        train(tiny(world, tmp_path, "half", steps=steps), say=lambda text: None)
    assert not (tmp_path / "half").exists()


def test_a_long_preflight_counts(world, tmp_path, monkeypatch):
    monkeypatch.setattr("training.batch_fit.SECONDS_UNSAID", 0.0)
    monkeypatch.setattr("training.preflight.SECONDS_UNSAID", 0.0)
    messages: list[str] = []
    train(tiny(world, tmp_path, steps=replace(tiny(world, tmp_path).steps, max_steps=1)), say=messages.append)
    text = "\n".join(messages)
    for line in ("trying a few batches", "trying batches of 2: 4 of 4 done", "checking labels: 5 of 6",
                 "comparing sentences of test: 0 of 1"):
        assert line in text


def test_a_rate_of_another_method_is_told(world, tmp_path):
    """Left over from LoRA, with method.kind=full: it would ruin the base."""
    lines: list[str] = []
    config = tiny(world, tmp_path, steps=replace(tiny(world, tmp_path).steps, learning_rate=5e-4))
    _prepared(config, lines.append, measured=True)
    assert "note: that is 13 times the 3.75e-05 which is usual for full on a base of this size" in lines
