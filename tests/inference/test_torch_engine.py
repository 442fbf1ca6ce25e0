"""The torch engine against transformers' own Whisper on the same weights, and against itself in other batches."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from speech import clips

from shared.audio import load_audio
from shared.audio.features import N_FRAMES_FULL, log_mel, pad_or_trim
from shared.checkpoint.embedded import embedded_base_transformers
from shared.checkpoint.tokenizer import tokens_of
from shared.engines.torch_engine import TorchEngine
from shared.errors import Cancelled, UserError

ITALIAN, ENGLISH = clips("it"), clips("en")
FOLDER = embedded_base_transformers()
TOKENS = tokens_of(FOLDER)
PLAIN = TOKENS.prompt("en", "transcribe", timestamps=False)
STAMPED = TOKENS.prompt("en", "transcribe", timestamps=True)


def mel(clip, n_frames: int = N_FRAMES_FULL) -> np.ndarray:
    return pad_or_trim(log_mel(load_audio(clip.path).samples), n_frames)


@pytest.fixture(scope="module")
def engine() -> TorchEngine:
    return TorchEngine(FOLDER, compute_type="float32")


@pytest.fixture(scope="module")
def reference():
    from transformers import WhisperForConditionalGeneration

    return WhisperForConditionalGeneration.from_pretrained(FOLDER, dtype=torch.float32).eval()


def test_encoder_and_decoder_are_those_of_transformers(engine, reference):
    features = mel(ENGLISH[0])
    ids = torch.tensor([[*PLAIN, *TOKENS.encode(" He was not an ill-disposed young man.")]])
    with torch.inference_mode():
        wanted = reference(input_features=torch.from_numpy(features)[None], decoder_input_ids=ids)
        states = engine.encode([features])
        hidden, _ = engine._network.step(ids, engine._network.memory(states, ids.shape[1]))
        got = engine._network.logits(hidden)
    torch.testing.assert_close(states.hidden, wanted.encoder_last_hidden_state, atol=2e-3, rtol=1e-3)
    torch.testing.assert_close(got, wanted.logits, atol=2e-2, rtol=1e-3)


@pytest.mark.parametrize("beam_size", [1, 5])
def test_the_search_finds_what_transformers_finds(engine, reference, beam_size):
    features = mel(ENGLISH[1])
    found = engine.decode(engine.encode([features]), PLAIN, beam_size=beam_size, max_tokens=60)[0]
    wanted = reference.generate(torch.from_numpy(features)[None], language="en", task="transcribe",
                                num_beams=beam_size, max_new_tokens=60)[0].tolist()
    assert TOKENS.text(found.tokens) == TOKENS.text(wanted)
    assert found.finished


def test_clips_of_several_lengths_decode_as_each_alone(engine):
    features = [mel(clip, n) for clip, n in ((ENGLISH[0], 1000), (ENGLISH[1], N_FRAMES_FULL), (ITALIAN[0], 800))]
    together = engine.decode(engine.encode(features), STAMPED, beam_size=1, max_tokens=40)
    joined = engine.join([engine.encode(features[:2]), engine.encode(features[2:])])
    assert [one.tokens for one in engine.decode(joined, STAMPED, beam_size=1, max_tokens=40)] == [
        one.tokens for one in together]
    for one, among in zip(features, together, strict=True):
        alone = engine.decode(engine.encode([one]), STAMPED, beam_size=1, max_tokens=40)[0]
        assert alone.tokens == among.tokens
        assert alone.avg_logprob == pytest.approx(among.avg_logprob, abs=1e-3)
        assert alone.no_speech_prob == pytest.approx(among.no_speech_prob, abs=1e-3)


@pytest.mark.parametrize("beam_size", [1, 3])
def test_timestamps_come_in_pairs_and_in_order(engine, beam_size):
    tokens = engine.decode(engine.encode([mel(ENGLISH[0])]), STAMPED, beam_size=beam_size, max_tokens=40)[0].tokens
    stamps = [i for i in tokens if i >= TOKENS.first_stamp]
    assert tokens[0] >= TOKENS.first_stamp and len(stamps) % 2 == 0 and stamps == sorted(stamps)
    assert all(token < TOKENS.end or token >= TOKENS.first_stamp for token in tokens)


def test_a_repeat_can_be_forbidden(engine):
    """A clip cropped bare makes the stock weights loop, which is what the rule is for."""
    states = engine.encode([mel(ITALIAN[0], 2 * int(load_audio(ITALIAN[0].path).duration * 50))])
    for beam_size in (1, 5):
        ids = engine.decode(states, PLAIN, beam_size=beam_size, max_tokens=120, no_repeat_ngram=3)[0].tokens
        runs = [ids[i : i + 3] for i in range(len(ids) - 2)]
        assert len(runs) == len(set(runs))


def test_eight_bits_are_close_to_thirty_two(engine):
    narrow = TorchEngine(FOLDER, compute_type="int8")
    for clip, n_frames in ((ENGLISH[0], 600), (ENGLISH[1], N_FRAMES_FULL)):
        wanted, got = (one.encode([mel(clip, n_frames)]).hidden for one in (engine, narrow))
        assert (got - wanted).norm() / wanted.norm() < 0.1
        found = narrow.decode(narrow.encode([mel(clip, n_frames)] * 2), PLAIN, beam_size=1, max_tokens=30)
        assert found[0].tokens == found[1].tokens


def test_stopping(engine):
    stop = threading.Event()
    stop.set()
    states = engine.encode([mel(ENGLISH[0], 600)])
    for beam_size in (1, 2):
        with pytest.raises(Cancelled):
            engine.decode(states, PLAIN, beam_size=beam_size, max_tokens=20, cancel=stop)


def test_compute_types_are_checked():
    with pytest.raises(UserError, match="compute type"):
        TorchEngine(FOLDER, compute_type="float16")
