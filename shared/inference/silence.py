"""Segments and words kept out of the silence that was left out between the pieces of a window.

A window holds speech without its long pauses. What the model writes as one segment may then lie on both sides of a
pause of any length; put on the audio's clock as it is, it would be spread over the silence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from shared.audio import SAMPLE_RATE
from shared.audio.windows import Window
from shared.transcript import Segment, Word

LEFT_OUT_SECONDS = 1.0  # a segment may lie over a pause up to so long
# Attention gives a first word the noise before it, and a last one that behind it. One that is alone on its side of a
# pause and reaches over it was spoken where the others were: where it is speech, it ends in silence before the pause.
OVER_SECONDS = 0.05


def seams(window: Window) -> list[float]:
    """Seconds within the window at which more than LEFT_OUT_SECONDS of silence were left out."""
    return [later[0] / SAMPLE_RATE for before, later in pairwise(window.pieces)
            if later[1] - (before[1] + before[2]) > LEFT_OUT_SECONDS * SAMPLE_RATE]


def crosses(start: float, end: float, cuts: Sequence[float]) -> bool:
    return any(start < cut < end for cut in cuts)


def parted(segment: Segment, cuts: Sequence[float]) -> list[Segment]:
    """A segment as one for each stretch between the cuts in which it has words.

    Without words it stays whole, on the stretch that holds most of it. Times: seconds within the window.
    """
    if not crosses(segment.start, segment.end, cuts):
        return [segment]
    stretches = list(pairwise([0.0, *cuts, float("inf")]))
    if not segment.words:
        low, high = max(stretches, key=lambda one: min(segment.end, one[1]) - max(segment.start, one[0]))
        return [replace(segment, start=max(segment.start, low), end=min(segment.end, high))]
    at = _stretches_of(segment.words, stretches)
    parts = []
    for n, (low, high) in enumerate(stretches):
        words = tuple(replace(word, start=max(word.start, low), end=min(word.end, high))
                      for word, where in zip(segment.words, at, strict=True) if where == n)
        text = "".join(word.text for word in words).strip()
        if text:
            start = segment.start if low <= segment.start else words[0].start
            end = segment.end if segment.end <= high else words[-1].end
            parts.append(replace(segment, text=text, start=start, end=end, words=words))
    return parts


def _stretches_of(words: Sequence[Word], stretches: Sequence[tuple[float, float]]) -> list[int]:
    """In which stretch each word was spoken: where its middle is, or beside its neighbour over a pause."""
    at = [next(n for n, (low, high) in enumerate(stretches) if low <= (word.start + word.end) / 2 < high)
          for word in words]
    if len(words) > 2:
        if at[0] < at[1] and words[0].end > stretches[at[1]][0] + OVER_SECONDS:
            at[0] = at[1]
        if at[-1] > at[-2] and words[-1].start < stretches[at[-2]][1] - OVER_SECONDS:
            at[-1] = at[-2]
    return at
