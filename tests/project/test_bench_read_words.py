"""The benchmark of word times in read speech: which phones belong to which word, and what is counted."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.read_words import DOUBT, Sentence, Spoken, aligned, errors


@pytest.mark.parametrize(("words", "phones", "owners"), [
    (["она", "тихо"], "a n aa tt ii h o", [0, 0, 0, 1, 1, 1, 1]),
    (["её", "объявление"], "j e j o a bb j aa v ll ee nn i j e", [0] * 4 + [1] * 11),  # ъ is a j, and vowels have one
    (["соль", "да"], "s oo ll d a", [0, 0, 0, 1, 1]),  # ь has none
])
def test_each_phone_belongs_to_a_word(words, phones, owners):
    cost, found = aligned(words, phones.split())
    assert found == owners and cost < DOUBT


def test_phones_of_another_text_leave_a_doubt():
    assert aligned(["она", "тихо"], ["s", "t", "o", "p"])[0] >= DOUBT


def test_errors_are_counted_apart_at_pauses_and_within_speech():
    spans = ((0.5, 1.0), (1.0, 1.4), (1.9, 2.5))
    one = Sentence("x", Spoken("ru", ("а", "б", "в"), np.zeros(16_000, np.float32), spans, " "), ())
    assert one.spoken.text == " а б в."
    late = [(start + 0.03, end + 0.03) for start, end in spans]
    found = errors([one, one], [late, late[:2]])
    assert (found["words"], found["failed"]) == (3, 1)
    for kind in ("start", "end", "at_pause", "inner", "all"):
        assert found[f"{kind}_bias"] == pytest.approx(30) and found[f"{kind}_mean"] == pytest.approx(30)
    late[2] = (2.4, 2.5)  # 500 ms late behind the pause; its end is exact
    assert errors([one], [late])["at_pause_mean"] == pytest.approx((30 + 30 + 500 + 0) / 4)
    assert errors([one], [late])["inner_mean"] == pytest.approx(30)
