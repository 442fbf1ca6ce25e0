"""The page's times, texts and subtitle files are those that the server makes of the same tokens, by Node."""

from __future__ import annotations

import base64
import random
import sys
import unicodedata
from typing import Any

import numpy as np
import pytest
import torch
from page_modules import ask, packed

from shared.audio.windows import Window
from shared.checkpoint.embedded import embedded_base
from shared.checkpoint.tokenizer import Tokens
from shared.engines.torch_decoding import Rules
from shared.inference.segments import on_audio, rest_of
from shared.inference.window_decoder import RESUME_SECONDS
from shared.transcript import Segment, Transcript, as_bytes, joined
from shared.units import short_clock, spoken_time
from training.onnx_form import suppressed

FORMS = ("txt", "srt", "vtt")


@pytest.fixture(scope="module")
def tokens() -> Tokens:
    return Tokens(embedded_base())


def described(tokens: Tokens) -> dict[str, Any]:
    """What model.json says of a vocabulary."""
    never, never_first = suppressed(embedded_base(), tokens)
    return {"end": tokens.end, "first_stamp": tokens.first_stamp, "last_stamp": tokens.last_stamp, "never": never,
            "never_first": never_first}


def test_the_same_tokens_may_come_next_as_on_the_server(tokens):
    first, end, chance = tokens.first_stamp, tokens.end, np.random.default_rng(0)
    before = [[], [first], [first, 400], [first, 400, first + 70], [first, 400, first + 70, first + 70], [400],
              [first + 9, 400, first + 70, first + 70, 500, first + 1500], [first, 400, 500, 600]]
    model = described(tokens)
    cases, expected = [], []
    for ids in before:
        for stamps, louder in ((True, 0.0), (True, 12.0), (False, 0.0)):  # 12: a word is likelier than all times
            logits = chance.normal(0, 1, tokens.n_tokens).astype(np.float32)
            logits[tokens.end // 2] = louder
            never = [i for i in model["never"] if not (stamps and i >= first)]
            rules = Rules(tokens, torch.tensor(never), torch.tensor(model["never_first"]))
            kept = torch.from_numpy(logits.copy())[None]
            rules.apply(kept, [ids], stamps)
            cases.append({"logits": packed(logits), "ids": ids, "stamps": stamps})
            expected.append((kept[0] > -torch.inf).numpy())
    for text, allowed, case in zip(ask(model=model, allowed=cases)["allowed"], expected, cases, strict=True):
        assert np.array_equal(np.frombuffer(base64.b64decode(text), np.bool_), allowed), (case["ids"], case["stamps"])
    sizes = {int(one.sum()) for one in expected}
    assert min(sizes) < 60 and max(sizes) > end - 200 and len(sizes) > 8


def test_text_is_cut_at_its_times_as_on_the_server(tokens):
    first = tokens.first_stamp
    cases = [[], [400, 500], [first, 400, first + 70], [first, 400, first + 70, first + 70, 500, 600, first + 1500],
             [first, first + 3, 400], [first + 5, 400, first + 9, 500, tokens.end, first + 70], [first]]
    found = ask(model=described(tokens), pieces=cases)["pieces"]
    assert [[(one["start"], one["end"], tuple(one["ids"])) for one in pieces] for pieces in found] == [
        [(piece.start, piece.end, piece.tokens) for piece in tokens.pieces(ids)] for ids in cases]


def test_times_in_a_window_are_put_on_the_recording_as_on_the_server():
    chance, cases, expected, n_rests = random.Random(0), [], [], 0
    for _ in range(300):
        at, length, pieces = chance.randrange(20_000), 0, []
        for _ in range(chance.randrange(1, 5)):
            n = chance.randrange(1_000, 90_000)
            pieces.append((length, at, n))
            at, length = at + n + chance.choice([0, 3_000, 16_000, 16_001, 50_000]), length + n
        times = sorted(chance.choice([chance.uniform(0, length / 16_000 + 1), chance.randrange(1500) * 0.02, 0.0625])
                       for _ in range(2 * chance.randrange(1, 4)))
        segments = [Segment("a", start, end) for start, end in zip(times[::2], times[1::2], strict=True)]
        window, reached = Window(np.zeros(length, np.float32), tuple(pieces)), times[-1]
        is_left = RESUME_SECONDS < reached < window.duration - RESUME_SECONDS
        n_rests += is_left
        expected.append({
            "segments": [{"start": one.start, "end": one.end, "text": "a"}
                         for one in on_audio(window, segments, by_sentence=False)],
            "rest": [named(piece) for piece in rest_of(window, reached).pieces] if is_left else None})
        cases.append({"length": length, "pieces": [named(piece) for piece in pieces], "reached": reached,
                      "segments": [{"start": one.start, "end": one.end, "text": "a"} for one in segments]})
    assert ask(placed=cases)["placed"] == expected
    assert 30 < n_rests < 270


def named(piece: tuple[int, int, int]) -> dict[str, int]:
    return dict(zip(("offset", "start", "length"), piece, strict=True))


WORDS = ["uno", "due.", "tre,", "quattro!", "l'ami", "precipitevolissimevolmente", "a" * 50, "<b>", "&", "«sì»", "…",
         "今日は晴れです。", "「はい」", "ประเทศไทย", "မြန်မာ", "ខ្មែរ", "ｶﾞｷﾞ", "한국어를", "हमने", "कि", "e\u0301",
         "👩‍👩‍👧", "קוראים", "\u200f", "(kept)", "50%", "\u3000", "\xa0"]


def test_subtitle_files_are_the_servers():
    chance, cases, expected = random.Random(1), [], []
    for _ in range(40):
        at, segments = chance.choice([0.0, 3.2]), []
        for _ in range(chance.randrange(1, 5)):
            end = at + chance.choice([0.0, 0.02, 0.5, 3.0625, 6.4, 29.98])
            text = chance.choice([" ", " ", ""]).join(chance.choices(WORDS, k=chance.randrange(1, 20))).strip() or "x"
            segments.append(Segment(text, at, end))
            at = end + chance.choice([0.0, 0.02, 1.4, 30.0])
        transcript = Transcript(tuple(segments), "it", at + chance.choice([0.0, 5.0]))
        cases.append({"segments": [{"start": one.start, "end": one.end, "text": one.text} for one in segments],
                      "seconds": transcript.duration})
        expected.append([[form, as_bytes(transcript, form).decode()] for form in FORMS])
    found = ask(files=cases)["files"]
    for one, files in zip(found, expected, strict=True):
        assert one == files
    assert sum(files[1][1].count("-->") for files in expected) > 120


def test_every_character_is_as_wide_as_on_the_server():
    signs = [chr(code) for code in range(sys.maxunicode + 1)
             if unicodedata.category(chr(code)) not in ("Cn", "Cs", "Co", "Mn", "Me", "Cf")
             and not 0x4E01 < code < 0x9FFF and not 0xAC01 < code < 0xD7A0 and not 0x20001 < code < 0x3FFFF]
    wide = [unicodedata.east_asian_width(sign) in "WF" for sign in signs]
    assert ask(columns=signs)["columns"] == [1 + one for one in wide]
    assert ask(columns=["e\u0301", "日本", "\u200f"])["columns"] == [1, 4, 0]


def test_texts_are_joined_and_clocks_read_as_on_the_server():
    texts = [[], ["uno"], ["uno", "due"], ["今日", "は"], ["a", "今日", "b"], ["ไทย", "ไทย"]]
    seconds = [0, 0.99, 59.999, 60, 3599.5, 3600, 36_725.4]
    found = ask(joined=texts, clock=seconds, spoken=seconds)
    assert found["joined"] == [joined(one) for one in texts]
    assert found["clock"] == [short_clock(one) for one in seconds]
    assert found["spoken"] == [spoken_time(one) for one in seconds]
