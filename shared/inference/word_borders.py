"""Where words begin and end, by the sound: attention tells which word, the level tells the border.

Enters: rough times of words and the samples of the window. Leaves: times with each border at the dip in level near it,
and no silence within a word (benchmarks/word_times.py has the figures with and without).
"""

from __future__ import annotations

import numpy as np

from shared.whisper_constants import FRAMES_PER_SECOND, HOP_LENGTH

NEAR_SECONDS = 0.15  # that a border moves at most; attention's median error is half of it
FAR_COSTS_DB = 6.0  # a dip so far away must be deeper by so much
SILENT_DB = 30.0  # under the loud parts of a window
MIN_SAMPLES = 3 * HOP_LENGTH  # of a window, to have a level to judge by


def by_sound(spans: list[tuple[float, float]], samples: np.ndarray) -> list[tuple[float, float]]:
    """Borders between words at the dip nearby, ends without silence.

    Args:
        spans: start and end of each word, in order, in seconds of the window.
        samples: float32 (n_samples,) of the window, at least MIN_SAMPLES.
    """
    n_frames = len(samples) // HOP_LENGTH
    level = 10 * np.log10(np.square(samples[: n_frames * HOP_LENGTH]).reshape(-1, HOP_LENGTH).mean(1) + 1e-10)
    smooth = np.convolve(np.pad(level, 1, mode="edge"), np.ones(3) / 3, mode="valid")
    loud = level > np.quantile(level, 0.95) - SILENT_DB
    starts, ends = (np.array(side) for side in zip(*spans, strict=True))
    begins, stops = starts.copy(), ends.copy()
    for i in range(len(spans) - 1):
        border = (ends[i] + starts[i + 1]) / 2
        dip = _dip(smooth, border, lowest=starts[i], highest=ends[i + 1])
        # In a long pause the middle is far from both words: neither grows by more than a border may move.
        stops[i] = min(dip, ends[i] + NEAR_SECONDS)
        begins[i + 1] = max(dip, starts[i + 1] - NEAR_SECONDS)
    return [_without_silence(begin, max(begin, stop), loud) for begin, stop in zip(begins, stops, strict=True)]


def _frame(seconds: float) -> int:
    return int(FRAMES_PER_SECOND * seconds)


def _dip(level: np.ndarray, border: float, lowest: float, highest: float) -> float:
    """The quietest moment near a border, between the middles of its two words."""
    first = max(_frame(border - NEAR_SECONDS), _frame((lowest + border) / 2))
    last = min(_frame(border + NEAR_SECONDS), _frame((border + highest) / 2), len(level) - 1)
    if last <= first:
        return border
    frames = np.arange(first, last + 1)
    cost = level[frames] + FAR_COSTS_DB * np.abs(frames / FRAMES_PER_SECOND - border) / NEAR_SECONDS
    return float(frames[cost.argmin()] + 0.5) / FRAMES_PER_SECOND


def _without_silence(start: float, end: float, loud: np.ndarray) -> tuple[float, float]:
    first = _frame(start)
    sounding = np.flatnonzero(loud[first : max(int(np.ceil(FRAMES_PER_SECOND * end)), first + 1)])
    if not len(sounding):
        return float(start), float(end)
    begin, stop = first + sounding[0], first + sounding[-1] + 1
    return float(max(start, begin / FRAMES_PER_SECOND)), float(min(end, stop / FRAMES_PER_SECOND))
