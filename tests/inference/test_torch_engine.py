"""The torch engine against transformers' own Whisper on the same weights, and against itself in other batches."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from speech import clips
from torch.nn import functional

from shared.audio import load_audio
from shared.audio.features import N_FRAMES_FULL, log_mel, pad_or_trim
from shared.checkpoint.embedded import embedded_base, embedded_base_transformers
from shared.checkpoint.tokenizer import tokens_of
from shared.engines import plan_engine, torch_decoding
from shared.engines.linear import Fbgemm, Linear, OneDnn
from shared.engines.torch_engine import TorchEngine
from shared.errors import Cancelled, OtherForm, UserError
from shared.system import hardware

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


@pytest.mark.parametrize("rows", [7, 40])  # two clips at a time, all
def test_beams_of_several_clips_find_what_each_finds_alone(engine, monkeypatch, rows):
    """Clips of several lengths, which end at other steps; fewer rows than fit, and clips that leave the batch."""
    monkeypatch.setattr(torch_decoding, "BEAM_ROWS", rows)
    states = engine.encode([mel(clip, n_frames) for clip, n_frames in zip(
        (*ENGLISH, ITALIAN[0], ENGLISH[2]), (600, 900, 700, 800, 1000), strict=True)])
    how = {"prompt": STAMPED, "beam_size": 3, "max_tokens": 25}
    for row, beside in enumerate(engine.decode(states, **how)):
        (alone,) = engine.decode(engine.row(states, row), **how)
        assert beside.tokens == alone.tokens and beside.finished == alone.finished
        assert beside.avg_logprob == pytest.approx(alone.avg_logprob, abs=1e-4)
        assert beside.no_speech_prob == pytest.approx(alone.no_speech_prob, abs=1e-5)


@pytest.mark.parametrize(("layers", "width", "room", "beam_size", "clips"), [
    (6, 512, 100, 5, 8), (6, 512, 448, 5, 8), (6, 512, 448, 20, 2), (32, 1280, 448, 5, 1), (32, 1280, 100, 5, 3)])
def test_beams_side_by_side_keep_to_a_memory(layers, width, room, beam_size, clips):
    """whisper-base and large-v3 in 32 bits, short clips and long ones; one clip at least."""
    network = SimpleNamespace(n_layers=layers, d_model=width, dtype=torch.float32)
    assert torch_decoding.clips_at_once(network, room, beam_size) == clips


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


VNNI = pytest.param(frozenset({"avx2", "avx512_vnni"}), marks=pytest.mark.skipif(
    not hardware.has_vnni(), reason="the processor has no VNNI: 8 bits of input would overflow its kernels"))


@pytest.mark.parametrize("kernel", [Fbgemm, OneDnn])
@pytest.mark.parametrize("flags", [VNNI, frozenset({"avx2"})])
def test_eight_bits_are_close_to_thirty_two(engine, monkeypatch, flags, kernel):
    """Both kernels; with 7 bits of input, which any processor can do, where products are summed in 16 bits."""
    monkeypatch.setattr(hardware, "cpu_flags", lambda: flags)
    monkeypatch.setattr(Fbgemm, "is_there", lambda: kernel is Fbgemm)
    narrow = TorchEngine(FOLDER, compute_type="int8")
    for clip, n_frames in ((ENGLISH[0], 600), (ENGLISH[1], N_FRAMES_FULL)):
        wanted, got = (one.encode([mel(clip, n_frames)]).hidden for one in (engine, narrow))
        assert (got - wanted).norm() / wanted.norm() < 0.1
        # Two rows with the same sound come out alike, but for last bits where threads share the work.
        network, states = narrow._network, narrow.encode([mel(clip, n_frames)] * 2)
        ids = torch.tensor([[*PLAIN, *TOKENS.encode(clip.text)]] * 2)
        with torch.inference_mode():
            rows, _ = network.step(ids, network.memory(states, ids.shape[1]))
        assert (rows[0] - rows[1]).norm() / rows[0].norm() < 0.01


@pytest.mark.parametrize("kernel", [Fbgemm, OneDnn])
@pytest.mark.parametrize("bias", [True, False])
def test_rows_of_any_size_and_sign_are_multiplied_in_eight_bits(monkeypatch, kernel, bias):
    monkeypatch.setattr(hardware, "cpu_flags", lambda: frozenset({"avx2"}))
    draw = torch.Generator().manual_seed(0)
    weight, offset = torch.randn(24, 64, generator=draw), torch.randn(24, generator=draw) if bias else None
    rows = torch.randn(5, 64, generator=draw) * torch.tensor([0.05, 1.0, 50.0, 0.0, 3.0])[:, None]
    rows[1] += 40  # all on one side
    linear = Linear(weight, offset, True, kernel)
    for x in (rows, rows[None], rows.repeat(40, 1), *rows[:, None]):
        wanted, got = functional.linear(x, weight, offset), linear(x.clone())
        assert got.shape == wanted.shape
        assert ((got - wanted).norm(dim=-1) <= 0.03 * x.norm(dim=-1) * weight.norm() / 8 + 1e-6).all()


@pytest.mark.parametrize(("flags", "form", "name"), [
    (("avx2", "avx512f", "avx512_vnni"), "transformers", "torch"), (("avx2",), "transformers", "torch"),
    (("sse4_2", "avx"), "ctranslate2", "ctranslate2"), ((), "ctranslate2", "ctranslate2")])
def test_auto_takes_the_engine_of_the_hardware(monkeypatch, flags, form, name):
    """Every rule on any machine: the flags are given."""
    monkeypatch.setattr(hardware, "cpu_flags", lambda: frozenset(flags))
    asked = []

    def folder_of(wanted: str):
        asked.append(wanted)
        return FOLDER if wanted == "transformers" else embedded_base()

    loaded = plan_engine("auto", "cpu", "auto", folder_of).open()
    assert (loaded.name, loaded.compute_type, asked) == (name, "int8", [form])
    found = loaded.decode(loaded.encode([mel(ENGLISH[1], 600)]), PLAIN, beam_size=1, max_tokens=30)[0]
    assert len(TOKENS.text(found.tokens)) > 10


def test_auto_takes_ctranslate2_where_the_checkpoint_has_that_form_only(monkeypatch):
    monkeypatch.setattr(hardware, "cpu_flags", lambda: frozenset({"avx2"}))

    def folder_of(wanted: str):
        if wanted == "transformers":
            raise OtherForm("This checkpoint is in CTranslate2's form")
        return embedded_base()

    assert plan_engine("auto", "cpu", "auto", folder_of).name == "ctranslate2"


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
