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
from shared.transcript import Segment

LEFT_OUT_SECONDS = 1.0  # a segment may lie over a pause up to so long


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
    parts = []
    for low, high in stretches:
        words = tuple(replace(word, start=max(word.start, low), end=min(word.end, high))
                      for word in segment.words if low <= (word.start + word.end) / 2 < high)
        text = "".join(word.text for word in words).strip()
        if text:
            start = segment.start if low <= segment.start else words[0].start
            end = segment.end if segment.end <= high else words[-1].end
            parts.append(replace(segment, text=text, start=start, end=end, words=words))
    return parts
