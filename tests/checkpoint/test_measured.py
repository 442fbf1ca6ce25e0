"""What cards say was measured, our own and other people's."""

from __future__ import annotations

import pytest

from shared.checkpoint import MODELS, Measured, measured
from shared.checkpoint.measured import Rate


def test_a_card_of_our_own():
    card = (MODELS / "whisper-base-it" / "README.md").read_text(encoding="utf-8")
    found = measured(MODELS / "whisper-base-it")
    for rate in (found.base, found.fine_tuned):
        assert rate and f"| {100 * rate.wer:.2f} | {100 * rate.low:.1f} … {100 * rate.high:.1f} |" in card
    assert found.base_id == "openai/whisper-base" and found.data == "asterisk-it" and found.n_clips > 0
    assert found.verdict and f"{100 * found.difference.wer:+.2f} points" in card


INDEX = """---
language: sv
model-index:
- name: x
  results:
  - dataset: {name: FLEURS}
    metrics: [{type: wer, value: 12.5}]
---
"""


@pytest.mark.parametrize(("card", "expected"), [
    (INDEX, Measured(Rate(0.125), data="FLEURS")), ("no front matter", Measured()), ("---\n[: \n---\n", Measured()),
    ("---\nmodel-index: 3\n---\n", Measured()),
    ("---\nmodel-index: [{results: [{metrics: [{type: wer, value: x}]}]}]\n---\n", Measured()),
])
def test_other_peoples_cards(tmp_path, card, expected):
    (tmp_path / "README.md").write_text(card)
    assert measured(tmp_path) == expected


def test_without_a_card(tmp_path):
    assert measured(tmp_path) == Measured()
