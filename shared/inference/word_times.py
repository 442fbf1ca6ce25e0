"""When each word was said, from the model's cross-attention: any language, no second model, no network.

Enters: one window's encoder states and tokens. Leaves: words with times within the window.
After "word-level timestamps" of openai/whisper (`timing.py`), whose choice of attention heads the checkpoint carries.
Attention tells which word, the sound tells the border: it moves to the dip in level near it, and silence belongs to
no word (benchmarks/word_times.py has the figures with and without).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from shared.audio import SAMPLE_RATE
from shared.audio.features import FRAMES_PER_SECOND
from shared.checkpoint.tokenizer import Tokens
from shared.engines import Engine
from shared.transcript import Word, separator

PUNCTUATION_BEFORE = "\"'“¿([{-"
PUNCTUATION_AFTER = "\"'.。,，!！?？:：”)]}、…;"

FRAME = SAMPLE_RATE // 100  # level is judged each 10 ms
NEAR_SECONDS = 0.15  # that a border moves at most; attention's median error is half of it
FAR_COSTS_DB = 6.0  # a dip so far away must be deeper by so much
SILENT_DB = 30.0  # under the loud parts of a window


def align_words(
    engine: Engine, tokens: Tokens, states: Any, row: int, prompt: Sequence[int], pieces: Sequence[Sequence[int]],
    duration: float, language: str | None, samples: np.ndarray | None = None,
) -> list[list[Word]]:
    """The words of each piece of one row's text, with times in seconds from the window's start.

    prompt: as it was given to `decode`. pieces: text tokens, parted where the model wrote a timestamp; no word reaches
    from one into the next, so that the words of a piece spell its text. duration: seconds of the window that hold
    sound. samples: the window's sound, by which borders are put right; without it they stay where attention has them.
    Lists are empty if the alignment fails: the text stands without word times then.
    """
    ids = [i for piece in pieces for i in piece]
    nothing: list[list[Word]] = [[] for _ in pieces]
    start = [i for i in prompt if i != tokens.no_timestamps]
    start = start[start.index(tokens.start):]
    n_frames = max(2, min(int(duration * FRAMES_PER_SECOND), 3000))
    path, seconds, probabilities = engine.align(states, row, start, ids, n_frames)
    if len(path) == 0:
        return nothing
    first = np.flatnonzero(np.diff(path, prepend=-1))  # where the path enters each token
    times = np.append(seconds[first], duration)
    if len(times) < len(ids) + 1:
        return nothing
    found, at = nothing, 0
    for words, piece in zip(found, pieces, strict=True):
        for text, group in tokens.words(piece, language):
            begin, end = float(times[at]), min(float(times[at + len(group)]), duration)
            words.append(Word(text, begin, end, float(np.mean(probabilities[at : at + len(group)]))))
            at += len(group)
    found = [_apart(_with_punctuation(words)) for words in found]
    if samples is None or len(samples) < 3 * FRAME:
        return found
    placed = iter(_by_sound([(word.start, word.end) for words in found for word in words], samples))
    return [[replace(word, start=start, end=end) for word, (start, end) in zip(words, placed, strict=False)]
            for words in found]


def _by_sound(spans: list[tuple[float, float]], samples: np.ndarray) -> list[tuple[float, float]]:
    """Borders between words at the dip nearby, ends without silence."""
    n_frames = len(samples) // FRAME
    level = 10 * np.log10(np.square(samples[: n_frames * FRAME]).reshape(-1, FRAME).mean(1) + 1e-10)
    smooth = np.convolve(np.pad(level, 1, mode="edge"), np.ones(3) / 3, mode="valid")
    loud = level > np.quantile(level, 0.95) - SILENT_DB
    starts, ends = (np.array(side) for side in zip(*spans, strict=True))
    begins, stops = starts.copy(), ends.copy()
    for i in range(len(spans) - 1):
        border = (ends[i] + starts[i + 1]) / 2
        dip = _dip(smooth, border, lowest=starts[i], highest=ends[i + 1])
        # In a long pause the middle is far from both words: neither grows by more than a border may move.
        stops[i] = min(dip, ends[i] + NEAR_SECONDS)
        begins[i + 1] = max(dip, starts[i + 1] - NEAR_SECONDS)
    return [_without_silence(begin, max(begin, stop), loud) for begin, stop in zip(begins, stops, strict=True)]


def _dip(level: np.ndarray, border: float, lowest: float, highest: float) -> float:
    """The quietest moment near a border, between the middles of its two words."""
    first = max(int(100 * (border - NEAR_SECONDS)), int(100 * (lowest + border) / 2))
    last = min(int(100 * (border + NEAR_SECONDS)), int(100 * (border + highest) / 2), len(level) - 1)
    if last <= first:
        return border
    frames = np.arange(first, last + 1)
    cost = level[frames] + FAR_COSTS_DB * np.abs(frames / 100 - border) / NEAR_SECONDS
    return float(frames[cost.argmin()] + 0.5) / 100


def _without_silence(start: float, end: float, loud: np.ndarray) -> tuple[float, float]:
    first = int(100 * start)
    heard = np.flatnonzero(loud[first : max(int(np.ceil(100 * end)), first + 1)])
    if not len(heard):
        return float(start), float(end)
    return float(max(start, (first + heard[0]) / 100)), float(min(end, (first + heard[-1] + 1) / 100))


def _apart(words: list[Word]) -> list[Word]:
    """The first word of a piece with the space that parts it from the piece before, where its script has one.

    The model may write a timestamp within a word; what follows begins without a space then.
    """
    if not words or not words[0].text.strip():
        return words
    text = words[0].text.lstrip()
    return [replace(words[0], text=separator(text) + text), *words[1:]]


def _with_punctuation(words: list[Word]) -> list[Word]:
    """Marks belong to the word they stand at, and take none of its time."""
    merged: list[Word] = []
    for word in words:
        last = merged[-1] if merged else None
        if last and word.text.strip() and all(c in PUNCTUATION_AFTER for c in word.text.strip()) \
                and not word.text.startswith(" "):
            merged[-1] = replace(last, text=last.text + word.text)
        elif last and last.text.strip() and all(c in PUNCTUATION_BEFORE for c in last.text.strip()):
            merged[-1] = replace(word, text=last.text + word.text.lstrip())
        else:
            merged.append(word)
    return merged
