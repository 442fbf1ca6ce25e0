"""Turns of speakers put onto the words and segments of a transcript."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np

from shared.diarization.clustering import best_path
from shared.diarization.diarizer import Turn
from shared.transcript import Segment, Transcript, Word, ends_sentence

CHANGE_SECONDS, CHANGE_AT_END = 0.3, 0.05  # of speech that a change of speaker between two words must be worth


def label(transcript: Transcript, turns: Sequence[Turn]) -> Transcript:
    """The transcript with a speaker on each word and segment.

    Args:
        transcript: a segment that has words is split between them where speakers change.
        turns: by time, as `Diarizer.turns` gives them.

    Returns:
        A new transcript; the same one where there are no turns.
    """
    if not turns:
        return transcript
    known = _Turns(turns)
    return replace(transcript, segments=tuple(
        part for segment in transcript.segments for part in _labelled(segment, known)))


class _Turns:
    """Turns as arrays: an hour has thousands of words and of turns."""

    def __init__(self, turns: Sequence[Turn]) -> None:
        self._starts = np.array([turn.start for turn in turns])
        self._ends = np.array([turn.end for turn in turns])
        self.names = list(dict.fromkeys(turn.speaker for turn in turns))
        self._speakers = np.array([self.names.index(turn.speaker) for turn in turns])

    def against(self, spoken: Segment | Word) -> np.ndarray:
        """What speaks against each speaker: seconds of it outside their turns, and how far the nearest one is."""
        shared = np.minimum(self._ends, spoken.end) - np.maximum(self._starts, spoken.start)
        covered = np.bincount(self._speakers, weights=np.maximum(shared, 0), minlength=len(self.names))
        nearest = np.full(len(self.names), -np.inf)
        np.maximum.at(nearest, self._speakers, shared)
        return spoken.end - spoken.start - covered - np.minimum(nearest, 0)


def _labelled(segment: Segment, turns: _Turns) -> list[Segment]:
    if not segment.words:
        return [replace(segment, speaker=turns.names[turns.against(segment).argmin()])]
    words = [replace(word, speaker=turns.names[speaker])
             for word, speaker in zip(segment.words, _speakers(segment.words, turns), strict=True)]
    groups = [tuple(group) for _, group in groupby(words, key=lambda word: word.speaker)]
    if len(groups) == 1:
        return [replace(segment, words=groups[0], speaker=words[0].speaker)]
    parts = [replace(segment, text="".join(word.text for word in group).strip(), start=group[0].start,
                     end=group[-1].end, words=group, speaker=group[0].speaker) for group in groups]
    return [part for part in parts if part.text]


def _speakers(words: Sequence[Word], turns: _Turns) -> list[int]:
    """Who says each word: the cheapest way through them, where a change costs something, less at a sentence's end.

    Word times and turns are each off by a tenth of a second or so; a lone word of somebody else is rarely meant.
    """
    changes = [CHANGE_AT_END if ends_sentence(word.text) else CHANGE_SECONDS for word in words[:-1]]
    return best_path(-np.stack([turns.against(word) for word in words]), np.array(changes)).tolist()
