"""In which lane of the queue a recording waits: a short one overtakes long ones and shares batches with its like."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shared.api.work import MODEL, SHORT
from shared.audio import is_short
from shared.serving import ON_ZERO_GPU

# On ZeroGPU work of several requests does not meet in one process.
LANE_OF_SHORT = MODEL if ON_ZERO_GPU else SHORT


def lane_for(paths: Sequence[str | Path]) -> str:
    """Where work on these recordings waits.

    Args:
        paths: of files on this machine; they are looked at, not decoded.

    Returns:
        LANE_OF_SHORT for one recording of at most 30 s, else MODEL; also for what cannot be read.
    """
    if LANE_OF_SHORT == MODEL or len(paths) != 1:
        return MODEL
    return LANE_OF_SHORT if is_short(paths[0]) else MODEL
