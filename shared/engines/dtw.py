"""Cross-attention to token times: the cheapest monotonic path (dynamic time warping).

After section "Timestamp prediction" of openai/whisper's `timing.py`: normalise over tokens, median-filter over
time, mean over heads, then warp. Only the torch engine needs it; CTranslate2 brings its own.
"""

from __future__ import annotations

import numpy as np

from shared.whisper_constants import POSITION_SECONDS

MEDIAN_FRAMES = 7


def token_path(attention: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n_heads, n_tokens, n_frames) attention weights → token index and seconds along the path, each (n_steps,)."""
    # What attention spends beyond the sound, on padding, says nothing of where in the sound a token is.
    attention = attention / np.maximum(attention.sum(-1, keepdims=True), 1e-9)
    mean, deviation = attention.mean(-2, keepdims=True), attention.std(-2, keepdims=True)
    weights = (attention - mean) / np.maximum(deviation, 1e-9)
    pad = MEDIAN_FRAMES // 2
    if weights.shape[-1] > pad:
        padded = np.pad(weights, [(0, 0), (0, 0), (pad, pad)], mode="reflect")
        weights = np.median(np.lib.stride_tricks.sliding_window_view(padded, MEDIAN_FRAMES, axis=-1), axis=-1)
    tokens, frames = warp(-weights.mean(0))
    return tokens, frames * POSITION_SECONDS


def warp(cost: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The monotonic path of least cost through (n_rows, n_columns); its row and column indices."""
    n_rows, n_columns = cost.shape
    total = np.full((n_rows + 1, n_columns + 1), np.inf)
    total[0, 0] = 0.0
    # Anti-diagonals depend only on the two before them, so each is one vector operation.
    for diagonal in range(2, n_rows + n_columns + 1):
        i = np.arange(max(1, diagonal - n_columns), min(n_rows, diagonal - 1) + 1)
        j = diagonal - i
        total[i, j] = cost[i - 1, j - 1] + np.minimum(np.minimum(total[i - 1, j - 1], total[i - 1, j]), total[i, j - 1])
    i, j, path = n_rows, n_columns, []
    while i > 0 and j > 0:
        path.append((i - 1, j - 1))
        step = int(np.argmin((total[i - 1, j - 1], total[i - 1, j], total[i, j - 1])))
        i, j = i - (step != 2), j - (step != 1)
    steps = np.array(path[::-1])
    return steps[:, 0], steps[:, 1]
