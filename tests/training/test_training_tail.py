"""A learned tail: made from a few clips, found beside the weights, and served by both engines; and stock weights."""

from __future__ import annotations

import json

import numpy as np
import pytest
from speech import clips
from training_world import small_base, small_data

from shared import wer
from shared.audio import Waveform, load_audio
from shared.checkpoint import Checkpoint, learned_tail
from shared.errors import UserError
from shared.inference import Transcriber
from training import tail

TRAIN = ["it_vm-mailboxfull.flac", "it_priv-introsaved.flac", "en_austen-0880.flac"]


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """A cut-down whisper-base with a tail of its own, and the losses that were said."""
    folder = tmp_path_factory.mktemp("tail")
    base = small_base(folder / "base")
    data = small_data(folder / "set", train=TRAIN)
    said: list[str] = []
    path = tail.learn(str(base), tail.Options(data=(str(data),), steps=20, batch_size=2), say=said.append)
    return path, said


def test_learning_a_tail_lowers_the_loss_and_says_how_it_was_made(learned):
    path, said = learned
    values = np.load(path)
    assert values.shape == (80, 60) and values.dtype == np.float32 and np.isfinite(values).all()
    losses = [float(line.split("loss ")[1].split(",")[0]) for line in said]
    assert losses[-1] < losses[0]
    made = json.loads(path.with_suffix(".json").read_text())
    assert made["steps"] == 20 and made["checkpoint"] == str(path.parent)


@pytest.mark.parametrize("engine", ["torch", "ctranslate2"])
def test_a_checkpoint_with_a_tail_is_cropped(learned, engine):
    folder = learned[0].parent
    cropping = Transcriber(Checkpoint.parse(str(folder)), engine=engine, device="cpu")
    full = Transcriber(Checkpoint.parse(str(folder)), engine=engine, device="cpu", full_context=True)
    assert cropping.facts.short_context == "tail" and full.facts.short_context == "full"
    parts = list(cropping.windows([load_audio(clips("it")[0].path).samples], _options()))
    short, long = (one.recogniser.encode(parts) for one in (cropping, full))
    lengths = [states.lengths[0] if engine == "torch" else states.shape[1] for states in (short, long)]
    assert lengths[1] == 1500 and lengths[0] == pytest.approx(50 * (parts[0].duration + 0.8), abs=2)


def _options():
    from shared.options import Options

    return Options(language="it")


def test_bad_options_are_told(tmp_path):
    for options, said in ((tail.Options(data=()), "learned from speech"),
                          (tail.Options(data=("x",), seconds=9), "length"),
                          (tail.Options(data=("x",), steps=0), "begin at 1"),
                          (tail.Options(data=("x",)), "Where should the tail go")):
        with pytest.raises(UserError, match=said):
            tail.learn("embedded:whisper-base", options)
    assert tail.main(["embedded:whisper-base", "data=[nowhere]", f"out={tmp_path}"]) == 2
    assert tail.main(["embedded:whisper-base", "speed=3"]) == 2


def test_a_tail_needs_a_batch_of_clips_and_must_fit_the_checkpoint(learned, tmp_path):
    base = learned[0].parent
    data = small_data(tmp_path / "set", train=TRAIN)
    with pytest.raises(UserError, match="too few clips"):
        tail.learn(str(base), tail.Options(data=(str(data),), out=str(tmp_path / "out"), batch_size=16))
    for damaged in (b"", np.zeros((3, 60), np.float32).tobytes()):
        (tmp_path / "tail.npy").write_bytes(damaged)
        with pytest.raises(UserError, match="learned tail cannot be used"):
            learned_tail(tmp_path, 80)
    np.save(tmp_path / "tail.npy", np.zeros((128, 60), np.float32))
    with pytest.raises(UserError, match="80 mel channels"):
        learned_tail(tmp_path, 80)


def test_stock_whisper_base_with_room_costs_less_and_says_the_same():
    base = Checkpoint.parse("embedded:whisper-base")
    cropping, full = (Transcriber(base, engine="torch", device="cpu", full_context=one) for one in (False, True))
    assert cropping.facts.short_context == "room"
    counted = {"cropping": [], "full": []}
    for clip in clips():
        for name, one in (("cropping", cropping), ("full", full)):
            text = one.transcribe(clip.path, language=clip.language).text
            counted[name].append(wer.word_errors(clip.text, text, clip.language))
    rates = {name: wer.pooled(errors).wer for name, errors in counted.items()}
    assert rates["cropping"] < rates["full"] + 0.05
    # Noise stays empty with less context as well.
    noise = np.random.default_rng(0).normal(0, 0.02, 16_000 * 4).astype(np.float32)
    assert cropping.transcribe(Waveform(noise), language="en", vad_onset=0.02).text == ""
