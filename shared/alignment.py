"""When each word was said, from the model's cross-attention: any language, no second model, no network.

Enters: one window's encoder states and tokens. Leaves: words with times within the window.
After "word-level timestamps" of openai/whisper (`timing.py`), whose choice of attention heads the checkpoint carries.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from shared.engines import Engine
from shared.features import FRAMES_PER_SECOND
from shared.tokens import Tokens
from shared.transcript import Word

PUNCTUATION_BEFORE = "\"'“¿([{-"
PUNCTUATION_AFTER = "\"'.。,，!！?？:：”)]}、…;"


def align_words(
    engine: Engine, tokens: Tokens, states: Any, row: int, prompt: Sequence[int], ids: Sequence[int],
    duration: float, language: str | None,
) -> list[tuple[Word, int]]:
    """Words of one row with times in seconds from the window's start, each with its number of tokens.

    prompt: as it was given to `decode`. ids: text tokens only. duration: seconds of the window that hold sound.
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
    return _with_punctuation(words)


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
