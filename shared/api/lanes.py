"""In which lane of the queue a recording waits: a short one overtakes long ones and shares batches with its like."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shared.api.work import MODEL, SHORT
from shared.audio import probe
from shared.errors import UserError
from shared.serving import ON_ZERO_GPU
from shared.whisper_constants import WINDOW_SECONDS

# On ZeroGPU work of several requests does not meet in one process.
LANE_OF_SHORT = MODEL if ON_ZERO_GPU else SHORT
SHORT_BYTES = 20 << 20  # what a header says about its length need not be true; 30 s of any usual sound are less


def lane_for(paths: Sequence[str | Path]) -> str:
    """Where work on these recordings waits.

    Args:
        paths: of files on this machine; they are looked at, not decoded.

    Returns:
        LANE_OF_SHORT for one recording of at most 30 s, else MODEL; also for what cannot be read.
    """
    if LANE_OF_SHORT == MODEL or len(paths) != 1:
        return MODEL
    try:
        header = probe(paths[0], max_bytes=SHORT_BYTES)
    except UserError:  # told by the work itself
        return MODEL
    return LANE_OF_SHORT if header.duration is not None and header.duration <= WINDOW_SECONDS else MODEL
