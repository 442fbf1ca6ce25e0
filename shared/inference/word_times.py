"""When each word was spoken, from the model's cross-attention: any language, no second model, no network.

Enters: one window's encoder states and tokens. Leaves: words with times within the window.
After "word-level timestamps" of openai/whisper (`timing.py`), whose choice of attention heads the checkpoint carries.
Attention tells which word, the sound tells the border (`word_borders`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from shared.checkpoint.tokenizer import Tokens
from shared.engines import Engine
from shared.inference.word_borders import MIN_SAMPLES, by_sound
from shared.transcript import Word, separator
from shared.whisper_constants import FRAMES_PER_SECOND, N_FRAMES_FULL

PUNCTUATION_BEFORE = "\"'“¿([{-"
PUNCTUATION_AFTER = "\"'.。,，!！?？:：”)]}、…;"


@dataclass(frozen=True)
class Row:
    """One row of a batch that was encoded and decoded.

    states: of the batch, from the engine. index: of the row. prompt: the ids that the decoder started from.
    """

    states: Any
    index: int
    prompt: Sequence[int]


def align_words(engine: Engine, tokens: Tokens, row: Row, pieces: Sequence[Sequence[int]], duration: float,
                language: str | None, samples: np.ndarray | None = None) -> list[list[Word]]:
    """The words of each piece of one row's text, with times in seconds from the window's start.

    Args:
        engine, tokens: of the checkpoint.
        row: what was decoded.
        pieces: text tokens, divided where the model wrote a timestamp; no word reaches from one into the next, so that
            the words of a piece spell its text.
        duration: seconds of the window that hold sound.
        language: of the text; None for one that has spaces between words.
        samples: float32 (n_samples,), the window's sound, by which borders are corrected; without it they stay where
            attention has them.

    Returns:
        A list for each piece, empty if the alignment fails: the text stands without word times then.
    """
    ids = [i for piece in pieces for i in piece]
    nothing: list[list[Word]] = [[] for _ in pieces]
    start = [i for i in row.prompt if i != tokens.no_timestamps]
    start = start[start.index(tokens.start):]
    n_frames = max(2, min(int(duration * FRAMES_PER_SECOND), N_FRAMES_FULL))
    path, seconds, probabilities = engine.align(row.states, row.index, start, ids, n_frames)
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
    if samples is None or len(samples) < MIN_SAMPLES:
        return found
    every = [word for words in found for word in words]
    placed = iter(by_sound([(word.start, word.end) for word in every], samples,
                           [word.text.rstrip().endswith(tuple(PUNCTUATION_AFTER)) for word in every]))
    return [[replace(word, start=start, end=end) for word, (start, end) in zip(words, placed, strict=False)]
            for words in found]


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
