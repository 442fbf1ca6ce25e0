"""Cross-attention to token times: the cheapest monotonic path (dynamic time warping).

After section "Timestamp prediction" of openai/whisper's `timing.py`: normalise over tokens, median-filter over
time, mean over heads, then warp. Only the torch engine needs it; CTranslate2 brings its own.
"""

from __future__ import annotations

import numpy as np

from shared.whisper_constants import POSITION_SECONDS

MEDIAN_FRAMES = 7
# Exchanges after which the fourth of seven values is their median.
MEDIAN_NETWORK = ((0, 5), (0, 3), (1, 6), (2, 4), (0, 1), (3, 5), (2, 6),
                  (2, 3), (3, 6), (4, 5), (1, 4), (1, 3), (3, 4))


def token_path(attention: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n_heads, n_tokens, n_frames) attention weights → token index and seconds along the path, each (n_steps,)."""
    # What attention spends beyond the sound, on padding, says nothing of where in the sound a token is.
    attention = attention / np.maximum(attention.sum(-1, keepdims=True), 1e-9)
    mean, deviation = attention.mean(-2, keepdims=True), attention.std(-2, keepdims=True)
    weights = (attention - mean) / np.maximum(deviation, 1e-9)
    weights = np.stack([_smooth(head) for head in weights])
    tokens, frames = warp(-weights.mean(0))
    return tokens, frames * POSITION_SECONDS


def _smooth(x: np.ndarray) -> np.ndarray:
    """(n_tokens, n_frames): the median of each value and three to either side, the ends mirrored. Fewer frames stay.

    By minima and maxima of whole rows, which sort no window: `np.median` took most of the time of word times.
    """
    pad = MEDIAN_FRAMES // 2
    if x.shape[-1] <= pad:
        return x
    padded = np.pad(x, [(0, 0), (pad, pad)], mode="reflect")
    lanes = [padded[:, i : i + x.shape[-1]] for i in range(MEDIAN_FRAMES)]
    for low, high in MEDIAN_NETWORK:
        lanes[low], lanes[high] = np.minimum(lanes[low], lanes[high]), np.maximum(lanes[low], lanes[high])
    return lanes[MEDIAN_FRAMES // 2]


def warp(cost: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The monotonic path of least cost through (n_rows, n_columns); its row and column indices.

    Of equal paths the one that goes on in rows and columns at once, else the one that goes to the next row.
    """
    n_rows, n_columns = cost.shape
    cost = cost.astype(np.float64)
    total = np.zeros((n_rows, n_columns))  # of the cheapest path to each place
    # What a path costs that enters row i at k and goes on to j is entering[i, k] + the sum of the row's costs to j: so
    # a row is one running minimum, whatever its length.
    entering = np.full((n_rows, n_columns), np.inf)
    for i in range(n_rows):
        sums = cost[i].cumsum()
        if i == 0:
            entering[0, 0] = 0.0
        else:
            entering[i] = total[i - 1]
            np.minimum(entering[i, 1:], total[i - 1, :-1], out=entering[i, 1:])
            entering[i, 1:] -= sums[:-1]
        total[i] = sums + np.minimum.accumulate(entering[i])
    path, j = [], n_columns - 1
    for i in range(n_rows - 1, -1, -1):
        k = j - int(entering[i, j::-1].argmin())
        path.append(np.stack([np.full(j - k + 1, i), np.arange(j, k - 1, -1)]))
        j = k - 1 if i and k and total[i - 1, k - 1] <= total[i - 1, k] else k
    rows, columns = np.concatenate(path, axis=1)[:, ::-1]
    return rows, columns
