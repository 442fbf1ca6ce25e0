"""Sound that came in and is not worked on yet. One thread may add to it while another takes."""

from __future__ import annotations

import threading
from collections import deque

import numpy as np

from shared.whisper_constants import WINDOW_SAMPLES


class Inbox:
    """Samples in their order, float32 (n_samples,) at 16 kHz."""

    def __init__(self) -> None:
        self.n_inserted = 0  # samples that ever came in
        self._blocks: deque[np.ndarray] = deque()
        self._lock = threading.Lock()

    def __bool__(self) -> bool:
        return bool(self._blocks)

    def put(self, samples: np.ndarray) -> None:
        with self._lock:
            self._blocks.append(np.array(samples, dtype=np.float32))
            self.n_inserted += len(samples)

    def take(self) -> np.ndarray | None:
        """About a window's worth at most, so that memory stays bounded however much came in; None if there is none."""
        blocks: list[np.ndarray] = []
        n_samples = 0
        with self._lock:
            while self._blocks and n_samples < WINDOW_SAMPLES:
                block = self._blocks.popleft()
                if len(block) > WINDOW_SAMPLES:
                    self._blocks.appendleft(block[WINDOW_SAMPLES:])
                    block = block[:WINDOW_SAMPLES]
                blocks.append(block)
                n_samples += len(block)
        return np.concatenate(blocks) if blocks else None
