"""What the examples of the compare page claim to show is measured, on both engines."""

from __future__ import annotations

import pytest

from shared.options import Options
from shared.serving import Request, Serving
from shared.ui.components.example_clips import BOTH_RIGHT, CLIPS, HELPS, HURTS, SHIPPED
from shared.wer import word_errors


@pytest.fixture(scope="module")
def serving() -> Serving:
    return Serving(*SHIPPED)


@pytest.mark.parametrize("engine", ["torch", "ctranslate2"])
@pytest.mark.parametrize("clip", CLIPS, ids=lambda clip: clip.file)
def test_each_example_shows_what_it_says(serving, clip, engine):
    base, tuned = (
        word_errors(clip.text, serving.transcribe_with(
            one.checkpoint, Request(clip.path, Options(language=clip.language), engine)).transcript.text,
            clip.language).errors for one in (serving.base, serving.fine_tuned))
    if clip.shows == HELPS:
        assert tuned < base and tuned == 0
    elif clip.shows == HURTS:
        assert base < tuned
    elif clip.shows == BOTH_RIGHT:
        assert base == tuned == 0
    else:
        assert base and tuned


def test_the_first_example_is_one_where_tuning_helps_and_one_is_in_another_language(serving):
    assert CLIPS[0].shows == HELPS and CLIPS[0].language in serving.fine_tuned.languages
    assert any(clip.language not in serving.fine_tuned.languages for clip in CLIPS)
