"""What the decoder wrote about a window, as segments on the audio's own clock.

Enters: segments with times within the window. Leaves: segments with times in the audio, out of the silence that was
left out of the window, and without what belongs to the window beside it. Knows nothing of engines or tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from shared.audio import SAMPLE_RATE
from shared.audio.windows import Window
from shared.inference.silence import crosses, parted, seams
from shared.transcript import Segment, Word, sentences


def needs_words(window: Window, spans: Sequence[tuple[float, float]]) -> bool:
    """Whether the times of words decide what becomes of these segments (seconds within the window)."""
    return _is_shared(window) or any(crosses(start, end, seams(window)) for start, end in spans)


def on_audio(window: Window, segments: Sequence[Segment], *, by_sentence: bool) -> list[Segment]:
    """Segments with the audio's times.

    Args:
        window: from which they were decoded.
        segments: times in seconds within the window.
        by_sentence: divide them at ends of sentences (a checkpoint without timestamps writes one segment a window).
    """
    cuts = seams(window)
    placed = [_placed(window, part) for whole in segments for part in parted(whole, cuts)]
    if by_sentence:
        placed = [sentence for segment in placed for sentence in sentences(segment)]
    return _own(placed, window) if _is_shared(window) else placed


def rest_of(window: Window, seconds: float) -> Window:
    """What follows `seconds` into a window, as a window."""
    cut = int(seconds * SAMPLE_RATE)
    pieces = [(max(offset - cut, 0), start + max(cut - offset, 0), n_samples - max(cut - offset, 0))
              for offset, start, n_samples in window.pieces if offset + n_samples > cut]
    return Window(window.samples[cut:], tuple(pieces), until=window.until)


def _is_shared(window: Window) -> bool:
    """Unbroken speech was cut at one of its ends, so that the window beside it holds some of the same words."""
    return window.since is not None or window.until is not None


def _own(segments: Sequence[Segment], window: Window) -> list[Segment]:
    """What a window keeps where its neighbour has the same: the words whose middle is on its side of the cut."""
    since, until = window.since or 0.0, window.until if window.until is not None else float("inf")

    def is_own(one: Segment | Word) -> bool:
        return since <= (one.start + one.end) / 2 < until

    kept = []
    for segment in segments:
        own = tuple(filter(is_own, segment.words))
        if len(own) == len(segment.words) and (own or is_own(segment)):
            kept.append(segment)
        elif own:
            kept.append(replace(segment, text="".join(word.text for word in own).strip(), words=own,
                                start=max(segment.start, own[0].start), end=min(segment.end, own[-1].end)))
    return kept


def _placed(window: Window, segment: Segment) -> Segment:
    """From the window's clock to the audio's."""
    start, end = window.in_audio(segment.start), window.in_audio(segment.end, is_end=True)
    words = tuple(replace(word, start=window.in_audio(word.start), end=window.in_audio(word.end, is_end=True))
                  for word in segment.words)
    return replace(segment, start=start, end=max(start, end), words=words)
