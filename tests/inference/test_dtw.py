"""Token times by dynamic time warping: the same path and median as the plain definitions give."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from shared.engines import dtw


def path_by_definition(cost: np.ndarray) -> list[tuple[int, int]]:
    """Place by place, with a step on in both, in the row or in the column."""
    n_rows, n_columns = cost.shape
    total = np.full((n_rows + 1, n_columns + 1), np.inf)
    total[0, 0] = 0.0
    for i, j in itertools.product(range(n_rows), range(n_columns)):
        total[i + 1, j + 1] = cost[i, j] + min(total[i, j], total[i, j + 1], total[i + 1, j])
    i, j, path = n_rows, n_columns, []
    while i > 0 and j > 0:
        path.append((i - 1, j - 1))
        step = int(np.argmin((total[i - 1, j - 1], total[i - 1, j], total[i, j - 1])))
        i, j = i - (step != 2), j - (step != 1)
    return path[::-1]


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (30, 1), (2, 3), (3, 2), (25, 60), (60, 25)])
def test_the_path_is_the_cheapest(shape):
    random = np.random.default_rng(1)
    for _ in range(10):
        cost = random.normal(size=shape).astype(np.float32)
        assert list(zip(*map(np.ndarray.tolist, dtw.warp(cost)), strict=True)) == path_by_definition(cost)


@pytest.mark.parametrize("cost", [np.zeros((5, 9)), np.zeros((9, 5)), -np.eye(6, 20), np.ones((4, 4))])
def test_of_equal_paths_the_straightest(cost):
    assert list(zip(*map(np.ndarray.tolist, dtw.warp(cost)), strict=True)) == path_by_definition(cost)


@pytest.mark.parametrize("n_frames", [1, 3, 4, 7, 50])
def test_the_median_over_time(n_frames):
    x = np.random.default_rng(2).normal(size=(6, n_frames)).astype(np.float32)
    if n_frames <= 3:
        assert np.array_equal(dtw._smooth(x), x)
        return
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(x, [(0, 0), (3, 3)], mode="reflect"), 7, axis=-1)
    assert np.array_equal(dtw._smooth(x), np.median(windows, axis=-1))
