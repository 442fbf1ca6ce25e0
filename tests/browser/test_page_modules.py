"""The page's own log-mel, text of tokens, normaliser and word errors give what the server's give, by Node."""

from __future__ import annotations

import base64
import itertools
import json
import random
import re
import sys
import unicodedata

import numpy as np
import pytest
import torch
from page_modules import ask, packed
from paths import DATA, ROOT
from speech import clips
from training_world import random_base

from shared.audio import load_audio, padded_speech
from shared.audio.features import frames_for, log_mel
from shared.audio.vad import FRAME, SpeechDetector, silero_file
from shared.audio.windows import OVERLAP, Window, windows
from shared.checkpoint.embedded import embedded_base
from shared.checkpoint.tokenizer import Tokens
from shared.errors import UserError
from shared.inference.transcriber import SHORT_GAP_SECONDS
from shared.languages import LANGUAGES, NO_SPACES
from shared.wer import normalise, unit, word_errors
from training.browser_form import read_decoder, write_browser, write_decoder
from training.onnx_network import Decoder, Weights

TEXTS = [
    "L'ami, don’t! dell'acqua ʻokina Oʻahu мʼята 'quoted'", "cold-hearted -5 3.5 1,000 10:30 a.b 5-6 x - 7",
    "हमने उस उम्मीदवार को चुना।", "İstanbul Iğdır ISPARTA", "ﬁne ｆｕｌｌ　ｗｉｄｔｈ ｶﾞｷﾞ １２３ m² 1º ำ",
    "[music] <unk> </s> 【音楽】 (kept) [é]", "50% of €3 + 4 = §7 №5", "Ёлка зелёная, сто́ит", "مُحَمَّد كتاب ي",
    'צה״ל שָׁלוֹם "quote"', "ΟΔΥΣΣΕΥΣ Σ", "şi ţară", "soft\u00adhyphen a\u200bb\u2060c", "ന്\u200d ണ്\u200d",
    "\ufeff bom\x1cfile\x85next", "e\u0301 ﷺ 𝓗𝓮𝓵𝓵𝓸 𝟙𝟚", "", " ",
]


@pytest.mark.parametrize("n_mels", [80, 128])
def test_log_mel_is_the_servers(n_mels):
    samples = load_audio(DATA / "it_priv-introsaved.flac").samples
    nothing = np.zeros(1600, np.float32)
    cases = [(samples, 484), (samples, 3000), (samples[:700], 46), (nothing, 50), (samples[:9000], 4)]
    found = ask(mel=[{"samples": packed(one), "nMels": n_mels, "nFrames": n} for one, n in cases])["mel"]
    for (one, n_frames), text in zip(cases, found, strict=True):
        mel = np.frombuffer(base64.b64decode(text), "<f4").reshape(n_mels, n_frames)
        np.testing.assert_allclose(mel, log_mel(one, n_mels, n_frames), atol=2e-4, rtol=0)


def test_a_clip_gets_as_many_frames_as_on_the_server():
    seconds = [0.0, 0.001, 0.4, 1.0, 4.37, 10.02, 29.99, 30.0, 41.0, *np.random.default_rng(0).uniform(0, 31, 300)]
    assert ask(frames=seconds)["frames"] == [frames_for(one) for one in seconds]


def test_tokens_become_the_same_text():
    tokens = Tokens(embedded_base())
    source = json.loads((embedded_base() / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    by_id = {number: token for token, number in source.items()}
    vocabulary = [by_id.get(number, "") for number in range(tokens.end)]
    written = [*TEXTS, *(clip.text for clip in clips()), "日本語のテキスト", "👩‍👩‍👧 emoji"]
    cases = [tokens.encode(text) for text in written]
    cases += [ids[:-1] for ids in cases if len(ids) > 2]  # the last character may be cut through
    cases.append([*cases[0], tokens.end, tokens.first_stamp + 3])
    assert ask(vocabulary=vocabulary, text=cases)["text"] == [tokens.text(ids) for ids in cases]


def test_the_normaliser_is_the_servers():
    languages = [None, "en", "it", "tr", "ru", "ar", "fa", "he", "ro", "ml", "ja", "pt-BR"]
    cases = [(text, language) for text in [*TEXTS, *(clip.text for clip in clips())] for language in languages]
    assert ask(normalise=cases)["normalise"] == [normalise(*case) for case in cases]
    assert ask(unit=[*LANGUAGES])["unit"] == [unit(code) for code in LANGUAGES] and NO_SPACES


def test_every_character_is_normalised_as_on_the_server():
    """All that Python's Unicode knows, after a letter, alone and before a digit; of the long runs of Chinese, Korean
    and Tangut the first and the last. Node's Unicode is newer: what Python does not know is left out."""
    signs = [chr(code) for code in range(sys.maxunicode + 1)
             if unicodedata.category(chr(code)) not in ("Cn", "Cs", "Co") and not 0x4E00 < code < 0x9FFF
             and not 0xAC01 < code < 0xD7A0 and not 0x17000 < code < 0x18CD6 and not 0x20000 < code < 0x3FFFF]
    lines = [" ".join(f"a{sign}b {sign} {sign}1" for sign in signs[at : at + 64]) for at in range(0, len(signs), 64)]
    found = ask(normalise=[(line, None) for line in lines])["normalise"]
    wrong = [(one, normalise(line), line) for one, line in zip(found, lines, strict=True) if one != normalise(line)]
    assert not wrong, (len(wrong), wrong[0])


def test_errors_are_counted_as_on_the_server():
    words = ["uno", "due", "tre", "quattro", "l'ami", "3.5"]
    chance = random.Random(0)
    texts = [" ".join(chance.choices(words, k=chance.randrange(9))) for _ in range(600)]
    cases = [(reference, hypothesis, "it") for reference, hypothesis in zip(texts[::2], texts[1::2], strict=True)]
    cases += [("今日は晴れ", "今日わ晴 れ", "ja"), ("a b", "", "en"), ("", "a", "en"), ("", "", "en")]
    for found, case in zip(ask(errors=cases)["errors"], cases, strict=True):
        expected = word_errors(*case)
        assert (found["errors"], found["referenceLength"]) == (expected.errors, expected.reference_length), case
        steps = found["steps"]
        assert sum(step["kind"] != "hit" for step in steps) == expected.errors
        assert [step["reference"] for step in steps if step["reference"]] == [
            step.reference for step in expected.alignment if step.reference]


def probabilities(samples: np.ndarray) -> np.ndarray:
    return SpeechDetector().probabilities(samples)


def speech(seconds: float) -> np.ndarray:
    """Clips after each other with pauses of 0 to 3 s."""
    pauses, parts = itertools.cycle([0.0, 1.7, 0.2, 3.0, 0.6]), []
    sounds = [load_audio(clip.path).samples for clip in clips()]
    while sum(map(len, parts)) < seconds * 16_000:
        for sound in sounds:
            parts += [sound, np.zeros(int(next(pauses) * 16_000), np.float32)]
    return np.concatenate(parts)[: int(seconds * 16_000)]


def test_the_windows_of_a_recording_are_the_servers():
    talk, chance = speech(60.0), np.random.default_rng(1)
    unbroken = np.clip(chance.normal(0.8, 0.1, 5000), 0.5, 1).astype(np.float32)  # 160 s, with spots more like silence
    noise = chance.random(3000).astype(np.float32)  # comes and goes
    sounds = [(talk, probabilities(talk)), (talk[:9000], probabilities(talk[:9000])), (talk[:0], talk[:0]),
              (np.zeros(50_001, np.float32), np.zeros(98, np.float32)),
              *((chance.normal(0, 0.1, len(one) * FRAME - 100).astype(np.float32), one) for one in (unbroken, noise))]
    cases = [(*sound, onset, gap) for sound in sounds for onset in (0.5, 0.3) for gap in (1.0, 1e9)]
    found = ask(windows=[{"samples": packed(samples), "probabilities": packed(judged), "onset": onset, "maxGap": gap,
                          "overlap": OVERLAP} for samples, judged, onset, gap in cases])["windows"]
    counts = []
    for one, (samples, judged, onset, gap) in zip(found, cases, strict=True):
        expected = windows_of(samples, judged, onset=onset, max_gap=gap)
        assert [[list(piece) for piece in window.pieces] for window in expected] == [pieces for _, pieces in one]
        for (text, _), window in zip(one, expected, strict=True):
            assert np.array_equal(np.frombuffer(base64.b64decode(text), "<f4"), window.samples)
        counts.append(len(one))
    assert counts[0] > counts[1] > 1 and max(counts) > 5 and counts.count(0) == 8


def windows_of(samples: np.ndarray, judged: np.ndarray, **how: float) -> list[Window]:
    """The server's windows where the speech detector judges so."""
    class Judged:
        def __init__(self) -> None:
            self.rest = iter(judged)

        def probabilities(self, block: np.ndarray) -> list[float]:
            return list(itertools.islice(self.rest, -(-len(block) // FRAME)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(padded_speech, "SpeechDetector", Judged)
        return list(windows([samples], **how))


def test_the_pages_speech_detector_judges_as_the_servers():
    """In onnxruntime, which reads the same file as the page's; in stretches of 4 s, as there."""
    session = pytest.importorskip("onnxruntime").InferenceSession(str(silero_file("silero_vad_16k_sequence.onnx")))
    samples = speech(20.0)
    framed = np.lib.stride_tricks.sliding_window_view(np.pad(samples, (64, FRAME)), 64 + FRAME)[::FRAME]
    framed = framed[: -(-len(samples) // FRAME)].copy()
    state = {name: np.zeros((1, 1, 128), np.float32) for name in "hc"}
    found = []
    for at in range(0, len(framed), 128):
        judged, h, c = session.run(["speech_probs", "hn", "cn"], {"input": framed[at : at + 128], **state})
        found, state = [*found, *judged], {"h": h, "c": c}
    np.testing.assert_allclose(found, probabilities(samples), atol=1e-4)
    assert 0.2 < np.mean(np.array(found) > 0.5) < 0.98


def test_the_kernel_is_built_from_its_text():
    wasmtime = pytest.importorskip("wasmtime", reason="SKIPPED: wasmtime is not installed; pip install -e '.[test]'")
    folder = ROOT / "spaces" / "browser"
    built = bytes(wasmtime.wat2wasm((folder / "kernel.wat").read_text(encoding="utf-8")))
    assert built == (folder / "kernel.wasm").read_bytes()


def test_the_decoders_logits_are_those_of_its_weights(tmp_path):
    """Against the network that ONNX gets, with the weights as they are in 8 bits."""
    weights = Weights(random_base(tmp_path / "model"))
    network = Decoder(weights)
    write_decoder(network, tmp_path / "decoder.safetensors")
    before = network.table.clone()
    read_decoder(network, tmp_path / "decoder.safetensors")
    assert 0 < (network.table - before).abs().max() < before.abs().max() / 250
    chance = np.random.default_rng(0)
    asked, expected = [], []
    for n_positions, n_tokens in ((23, 12), (2, 1), (1500, 3)):
        keys, values = (chance.normal(0, 1, shape).astype(np.float32) for shape in
                        ((2, 2, 32, n_positions), (2, 2, n_positions, 32)))
        ids = chance.integers(0, 51865, n_tokens).tolist()
        asked.append({"keys": packed(keys), "values": packed(values), "ids": ids})
        nothing, cross = torch.zeros(0, 2, 2, 32), [torch.from_numpy(one) for one in (keys, values)]
        with torch.inference_mode():
            expected.append(network(torch.tensor(ids), nothing, nothing, *cross)[0].numpy())
    model = {"layers": 2, "heads": 2, "head_size": 32, "decoder_positions": 448}
    found = ask(decoder=str(tmp_path / "decoder.safetensors"), model=model, logits=asked)["logits"]
    for text, logits in zip(found, expected, strict=True):
        own = np.frombuffer(base64.b64decode(text), "<f4")
        np.testing.assert_allclose(own, logits, atol=2e-3 * np.abs(logits).max())
        assert np.ptp(logits) > 0.1


@pytest.mark.parametrize(("sizes", "what"), [
    ({"d_model": 48}, "width"), ({"decoder_ffn_dim": 80}, "feed-forward width"),
    ({"decoder_attention_heads": 8}, "head size")])
def test_a_decoder_that_the_page_would_read_wrongly_is_refused(tmp_path, sizes, what):
    model = random_base(tmp_path / "model", **sizes)
    with pytest.raises(UserError, match=f"cannot run a decoder of this {what}"):
        write_browser(model, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_may_be_cropped_gets_each_utterance_for_itself_as_on_the_server():
    found = re.search(r"^const SHORT_GAP = ([\d.]+);", (ROOT / "spaces/browser/worker.js").read_text(), re.M)
    assert found and float(found[1]) == SHORT_GAP_SECONDS
