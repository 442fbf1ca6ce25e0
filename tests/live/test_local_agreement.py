"""Which words of two partial texts agree, and where settled text ends and may be parted."""

from __future__ import annotations

import numpy as np
import pytest

from shared.live.local_agreement import agreed, border, settled_in
from shared.transcript import Word


def words(text: str, start: float = 0.0) -> list[Word]:
    return [Word(f" {word}", start + n, start + n + 0.9, 0.9) for n, word in enumerate(text.split())]


def spoken(text: str) -> list[Word]:
    """Each word as long as its letters."""
    ends = np.cumsum([0.1 * sum(c.isalpha() for c in word) for word in text.split()])
    return [Word(f" {word}", 0.0, end, 0.9) for word, end in zip(text.split(), ends, strict=True)]


@pytest.mark.parametrize("settled, hypothesis, rest", [
    ("", "a b", "a b"), ("a b", "a b c", "c"), ("a b", "A, b. c d", "c d"), ("a b c", "a x c d", "d"),
    ("a b c", "a c d e", "d e"), ("a b", "a b", ""), ("the the", "the the the end", "the end"),
    ("mail box", "mailbox is full", "is full"), ("नमस्ते दुनिया", "नमस्ते, दुनिया और", "और"),
])
def test_where_the_settled_words_end(settled, hypothesis, rest):
    assert settled_in(spoken(settled), spoken(hypothesis)) == len(hypothesis.split()) - len(rest.split())


def test_where_they_end_if_a_number_is_written_another_way():
    before = [Word(" 5", 0.0, 0.6, 0.9), Word(" per", 0.6, 0.8, 0.9)]
    now = [Word(" cinque", 0.0, 0.6, 0.9), Word(" per", 0.6, 0.8, 0.9), Word(" prolungare", 0.8, 1.5, 0.9)]
    assert settled_in(before, now) == 2


@pytest.mark.parametrize("before, now, n_words", [
    ("a b c", "a b d", 2), ("a b", "A b", 2), ("a b.", "a b.", 1), ("a b.", "a b. c", 2), ("", "a", 0), ("x a", "a", 0),
])
def test_agreement(before, now, n_words):
    assert agreed(words(before), words(now)) == n_words


def test_a_pause_makes_a_last_word_certain():
    assert agreed(words("a b."), words("a b."), in_pause=True) == 2


def test_where_to_part():
    sentence = words("One two. Three four five")
    assert border(sentence, 10.0) == 2
    assert border(sentence, 1.5) == 1 and border(sentence, 1.5, sentences_only=True) == 0
    assert border(sentence[2:], 10.0) == 3
