"""Changes of a transcript by a person: what they touch, and what they leave as it was."""

from __future__ import annotations

import pytest

from shared.errors import UserError
from shared.transcript import FORMATS, Segment, Transcript, Word
from shared.ui.server.edits import apply

FIRST = (Word(" Good", 0.0, 0.4, 0.9, "Speaker 1"), Word(" morning", 0.4, 1.0, 0.9, "Speaker 1"),
         Word(" all", 1.1, 1.5, 0.9, "Speaker 1"))
SEGMENTS = (Segment("Good morning all", 0.0, 1.5, FIRST, "Speaker 1"), Segment("Hello", 2.0, 2.5, (), "Speaker 2"),
            Segment("Bye", 3.0, 3.5, (), "Speaker 1"))
TRANSCRIPT = Transcript(SEGMENTS, "en", 4.0)


def lines(transcript: Transcript) -> list[tuple]:
    return [(segment.speaker, segment.text) for segment in transcript.segments]


def test_a_line_gets_another_text_and_an_empty_one_goes():
    changed = apply(TRANSCRIPT, "text", {"index": 1, "text": " Hi \n there "})
    assert lines(changed)[1] == ("Speaker 2", "Hi there") and changed.segments[0] is SEGMENTS[0]
    assert apply(TRANSCRIPT, "text", {"index": 0, "text": "Good morning all"}) is TRANSCRIPT, "its word times stay"
    assert len(apply(TRANSCRIPT, "text", {"index": 0, "text": " "}).segments) == 2


@pytest.mark.parametrize(("at", "first"), [(4, "Good"), (5, "Good"), (6, "Good"), (12, "Good morning"),
                                           (15, "Good morning"), (1, "Good")])
def test_a_line_is_parted_between_words_with_their_times(at, first):
    one, two, *_ = apply(TRANSCRIPT, "split", {"index": 0, "at": at}).segments
    assert one.text == first and f"{one.text} {two.text}" == "Good morning all"
    assert one.end == one.words[-1].end and two.start == two.words[0].start and one.words + two.words == FIRST


def test_without_word_times_a_line_is_parted_by_its_letters():
    changed = apply(TRANSCRIPT, "text", {"index": 0, "text": "Good day to you"})
    one, two, *_ = apply(changed, "split", {"index": 0, "at": 8}).segments
    assert (one.text, two.text) == ("Good day", "to you") and one.end == two.start == pytest.approx(0.8)


def test_lines_are_joined_and_parted_again():
    parted = apply(TRANSCRIPT, "split", {"index": 0, "at": 5})
    assert lines(apply(parted, "join", {"index": 0})) == lines(TRANSCRIPT)
    assert apply(parted, "join", {"index": 0}).segments[0].words == FIRST
    other = apply(TRANSCRIPT, "join", {"index": 0}).segments[0]
    assert (other.text, other.speaker, other.end, other.words) == ("Good morning all Hello", "Speaker 1", 2.5, ())


def test_speakers_are_renamed_and_made_one_in_every_format():
    named = apply(TRANSCRIPT, "rename", {"name": "Speaker 1", "to": "  Ada  L. "})
    assert {word.speaker for word in named.words} == {"Ada L."}
    for kind in ("txt", "srt", "vtt", "tsv", "json"):
        assert "Ada L." in FORMATS[kind](named) and "Speaker 1" not in FORMATS[kind](named)
    one = apply(named, "rename", {"name": "Speaker 2", "to": "Ada L."})
    assert {segment.speaker for segment in one.segments} == {"Ada L."}
    assert [segment.speaker for segment in apply(named, "reassign", {"index": 2, "to": "Bo"}).segments] == [
        "Ada L.", "Speaker 2", "Bo"]


@pytest.mark.parametrize(("action", "given"), [
    ("text", {"index": 3, "text": "x"}), ("text", {"index": "0", "text": "x"}), ("text", {"index": -1, "text": "x"}),
    ("text", {"index": 0, "text": "x" * 20_000}), ("split", {"index": 0, "at": 0}), ("split", {"index": 0, "at": 16}),
    ("split", {"index": 0, "at": None}), ("split", {"index": 1, "at": 99}), ("join", {"index": 2}),
    ("rename", {"name": "Nobody", "to": "x"}), ("rename", {"name": "Speaker 1", "to": " "}),
    ("reassign", {"index": 0, "to": "x" * 61}), ("delete everything", {}),
])
def test_what_cannot_be_says_what_to_do(action, given):
    with pytest.raises(UserError, match="What to do"):
        apply(TRANSCRIPT, action, given)
