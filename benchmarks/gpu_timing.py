"""Seconds and memory of something done on a device: warmed up, waited for, the median of several."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

AT_LEAST, AT_MOST, ENOUGH_SECONDS = 3, 9, 1.0


@dataclass(frozen=True)
class Timed:
    """median: seconds. spread: the slowest over the fastest. peak_gb: memory allocated at the highest, over what was
    there before the first run (0 on a CPU)."""

    median: float
    spread: float
    peak_gb: float


def wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def measured(run: Callable[[], object], device: str) -> Timed:
    """One run to warm up, whose memory counts; then three to nine, until a second has passed."""
    before = 0
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    run()
    wait(device)
    peak = torch.cuda.max_memory_allocated() - before if device == "cuda" else 0
    seconds: list[float] = []
    while len(seconds) < AT_LEAST or (len(seconds) < AT_MOST and sum(seconds) < ENOUGH_SECONDS):
        begun = time.perf_counter()
        run()
        wait(device)
        seconds.append(time.perf_counter() - begun)
    return Timed(statistics.median(seconds), max(seconds) / min(seconds), peak / 1e9)
