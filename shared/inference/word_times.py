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
from shared.transcript import Word

PUNCTUATION_BEFORE = "\"'“¿([{-"
PUNCTUATION_AFTER = "\"'.。,，!！?？:：”)]}、…;"

FRAME = SAMPLE_RATE // 100  # level is judged each 10 ms
NEAR_SECONDS = 0.15  # that a border moves at most; attention's median error is half of it
FAR_COSTS_DB = 6.0  # a dip so far away must be deeper by so much
SILENT_DB = 30.0  # under the loud parts of a window


def align_words(
    engine: Engine, tokens: Tokens, states: Any, row: int, prompt: Sequence[int], ids: Sequence[int],
    duration: float, language: str | None, samples: np.ndarray | None = None,
) -> list[tuple[Word, int]]:
    """Words of one row with times in seconds from the window's start, each with its number of tokens.

    prompt: as it was given to `decode`. ids: text tokens only. duration: seconds of the window that hold sound.
    samples: the window's sound, by which borders are put right; without it they stay where attention has them.
    Empty if the alignment fails: the text stands without word times then.
    """
    start = [i for i in prompt if i != tokens.no_timestamps]
    start = start[start.index(tokens.start):]
    n_frames = max(2, min(int(duration * FRAMES_PER_SECOND), 3000))
    path, seconds, probabilities = engine.align(states, row, start, ids, n_frames)
    if len(path) == 0:
        return []
    first = np.flatnonzero(np.diff(path, prepend=-1))  # where the path enters each token
    times = np.append(seconds[first], duration)
    if len(times) < len(ids) + 1:
        return []
    words, at = [], 0
    for text, group in tokens.words(ids, language):
        begin, end = float(times[at]), float(times[at + len(group)])
        probability = float(np.mean(probabilities[at : at + len(group)]))
        words.append((Word(text, begin, min(end, duration), probability), len(group)))
        at += len(group)
    words = _with_punctuation(words)
    if samples is None or len(samples) < 3 * FRAME:
        return words
    placed = _by_sound([(word.start, word.end) for word, _ in words], samples)
    return [(replace(word, start=start, end=end), n_tokens)
            for (word, n_tokens), (start, end) in zip(words, placed, strict=True)]


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


def _with_punctuation(words: list[tuple[Word, int]]) -> list[tuple[Word, int]]:
    """Marks belong to the word they stand at, and take none of its time."""
    merged: list[tuple[Word, int]] = []
    for word, n_tokens in words:
        if merged and word.text.strip() and all(c in PUNCTUATION_AFTER for c in word.text.strip()) \
                and not word.text.startswith(" "):
            last, n_last = merged[-1]
            merged[-1] = (Word(last.text + word.text, last.start, last.end, last.probability), n_last + n_tokens)
        elif merged and merged[-1][0].text.strip() and all(c in PUNCTUATION_BEFORE for c in merged[-1][0].text.strip()):
            last, n_last = merged[-1]
            merged[-1] = (Word(last.text + word.text.lstrip(), word.start, word.end, word.probability),
                          n_last + n_tokens)
        else:
            merged.append((word, n_tokens))
    return merged
