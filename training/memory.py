"""A training process's memory: what it holds at most, and giving back what it no longer needs.

Batches of ever new lengths leave holes that glibc's allocator keeps: a run of whisper-base came to 12 GB after 400
steps, of which 3 were in use. Every few steps the holes go back to the system. Elsewhere than on glibc nothing is done.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import torch
from transformers import TrainerCallback

EVERY = 3  # steps; what was given back has to be asked for again, some 0.3 s for whisper-base


class GiveBack(TrainerCallback):
    """Returns unused heap to the system while a run goes on."""

    def __init__(self) -> None:
        self._trim = _malloc_trim()

    def on_step_end(self, args, state, control, **_):
        if self._trim is not None and state.global_step % EVERY == 0:
            self._trim(0)

    def on_evaluate(self, args, state, control, **_):
        if self._trim is not None:
            self._trim(0)


def peak_mb() -> int | None:
    """MB this process has held at most: on the GPU if there is one, else of memory; None where the system won't say."""
    if torch.cuda.is_available():
        return round(torch.cuda.max_memory_allocated() / 1e6)
    try:
        import resource
    except ImportError:  # Windows
        return None
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(held / 1e6 if sys.platform == "darwin" else held * 1024 / 1e6)


def free_mb() -> float:
    """MB that can still be taken: of the GPU's memory if there is one, else of the machine's or this container's."""
    if torch.cuda.is_available():
        return torch.cuda.mem_get_info()[0] / 1e6
    free = psutil.virtual_memory().available / 1e6
    try:  # cgroup v2, as containers have it; what is not limited says "max"
        group = Path("/sys/fs/cgroup")
        limit, used = (int((group / name).read_text()) / 1e6 for name in ("memory.max", "memory.current"))
    except (OSError, ValueError):
        return free
    return min(free, limit - used)


def growth_mb(work: Callable[[], object]) -> float | None:
    """MB this process came to hold, at most, while `work` ran, beyond what it held before; None except on Linux."""
    trim = _malloc_trim()
    if trim is not None:
        trim(0)  # what earlier work has left would be used again and not be seen
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
        before = _status_mb("VmRSS")
        work()
        return _status_mb("VmHWM") - before
    except (OSError, KeyError):
        return None


def _status_mb(key: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(dict(line.split(":", 1) for line in lines)[key].split()[0]) * 1024 / 1e6


def _malloc_trim():
    if not sys.platform.startswith("linux"):
        return None
    try:
        return ctypes.CDLL("libc.so.6").malloc_trim
    except (OSError, AttributeError):  # another libc, such as musl
        return None
