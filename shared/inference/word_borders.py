"""Where words begin and end, by the sound: attention tells which word, the level tells the border.

Enters: rough times of words and the samples of the window. Leaves: times with each border at the pause or the dip in
level near it, and no silence within a word. benchmarks/read_words.py has the figures with and without, and chose the
numbers on other sentences than it reports.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shared.whisper_constants import FRAMES_PER_SECOND, HOP_LENGTH

# Attention goes on to a word before it is spoken: by so much within speech, and behind a pause by the whole pause.
EARLY_SECONDS = 0.01
PAUSE_SECONDS = 0.1  # a shorter silence may be the closure of a p, t or k, in the middle of a word
BACK_SECONDS, FORWARD_SECONDS = 0.05, 0.2  # from attention's border to a pause that it means
# Without a pause: how far a border moves at most, and how much deeper a dip must be for each second that it is away.
# Behind a comma or a full stop speakers part words, and attention is less exact: isolated words are such a case.
NEAR_SECONDS, FAR_COSTS_DB = 0.08, 200.0
NEAR_MARK_SECONDS, FAR_FROM_MARK_COSTS_DB = 0.15, 40.0
SILENT_DB = 30.0  # under the loud parts of a window
MIN_SAMPLES = 3 * HOP_LENGTH  # of a window, to have a level to judge by


def by_sound(spans: list[tuple[float, float]], samples: np.ndarray, marked: Sequence[bool] = ()
             ) -> list[tuple[float, float]]:
    """Borders between words at the pause or the dip nearby, ends without silence.

    Args:
        spans: start and end of each word, in order, in seconds of the window.
        samples: float32 (n_samples,) of the window, at least MIN_SAMPLES.
        marked: for each word, whether a punctuation mark is behind it; none if empty.
    """
    n_frames = len(samples) // HOP_LENGTH
    level = 10 * np.log10(np.square(samples[: n_frames * HOP_LENGTH]).reshape(-1, HOP_LENGTH).mean(1) + 1e-10)
    smooth = np.convolve(np.pad(level, 1, mode="edge"), np.ones(3) / 3, mode="valid")
    loud = level > np.quantile(level, 0.95) - SILENT_DB
    pauses = _pauses(loud)
    starts, ends = (np.array(side) + EARLY_SECONDS for side in zip(*spans, strict=True))
    starts[0] = spans[0][0]
    ends = np.minimum(ends, len(samples) / (FRAMES_PER_SECOND * HOP_LENGTH))
    begins, stops = starts.copy(), ends.copy()
    for i in range(len(spans) - 1):
        border = ends[i], max(ends[i], starts[i + 1])  # one moment, unless a mark between the words has its own time
        limits = (starts[i] + border[0]) / 2, (border[1] + ends[i + 1]) / 2
        stops[i], begins[i + 1] = _pause(pauses, border, limits) or _dip(
            smooth, border, limits, bool(marked) and marked[i])
    return [_without_silence(begin, max(begin, stop), loud) for begin, stop in zip(begins, stops, strict=True)]


def _pauses(loud: np.ndarray) -> np.ndarray:
    """float64 (n_pauses, 2): start and end in seconds of each silence of at least PAUSE_SECONDS."""
    changes = np.flatnonzero(np.diff(np.concatenate([[0], ~loud, [0]])))
    silences = changes.reshape(-1, 2) / FRAMES_PER_SECOND
    return silences[silences[:, 1] - silences[:, 0] >= PAUSE_SECONDS - 1e-9]


def _pause(pauses: np.ndarray, border: tuple[float, float], limits: tuple[float, float]) -> tuple[float, float] | None:
    """The pause nearest to a border, if one is near: it starts behind a word and ends before the next."""
    lowest, highest = max(limits[0], border[0] - BACK_SECONDS), min(limits[1], border[1] + FORWARD_SECONDS)
    near = pauses[(pauses[:, 1] > lowest) & (pauses[:, 0] < highest)]
    if not len(near):
        return None
    start, end = near[_away(near[:, 1], near[:, 0], border).argmin()]
    return float(start), float(end)


def _dip(level: np.ndarray, border: tuple[float, float], limits: tuple[float, float], marked: bool
         ) -> tuple[float, float]:
    """The quietest moment near a border, where one word ends and the next begins; the border itself without room."""
    near, far = (NEAR_MARK_SECONDS, FAR_FROM_MARK_COSTS_DB) if marked else (NEAR_SECONDS, FAR_COSTS_DB)
    first = _frame(max(border[0] - near, limits[0]))
    last = min(_frame(min(border[1] + near, limits[1])), len(level) - 1)
    if last <= first:
        return border
    frames = np.arange(first, last + 1)
    seconds = frames / FRAMES_PER_SECOND
    dip = frames[(level[frames] + far * _away(seconds, seconds, border)).argmin()]
    return (float(dip + 0.5) / FRAMES_PER_SECOND,) * 2


def _away(latest: np.ndarray, earliest: np.ndarray, border: tuple[float, float]) -> np.ndarray:
    """Seconds from a border to what ends at `latest` and begins at `earliest`; none where they meet."""
    return np.maximum(0, np.maximum(earliest - border[1], border[0] - latest))


def _frame(seconds: float) -> int:
    return int(FRAMES_PER_SECOND * seconds)


def _without_silence(start: float, end: float, loud: np.ndarray) -> tuple[float, float]:
    first = _frame(start)
    sounding = np.flatnonzero(loud[first : max(int(np.ceil(FRAMES_PER_SECOND * end)), first + 1)])
    if not len(sounding):
        return float(start), float(end)
    begin, stop = first + sounding[0], first + sounding[-1] + 1
    return float(max(start, begin / FRAMES_PER_SECOND)), float(min(end, stop / FRAMES_PER_SECOND))
