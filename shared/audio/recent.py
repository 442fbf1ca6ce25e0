"""What was read from a file a moment ago, for as long as the file stays as it was."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Recent(Generic[T]):
    """The last n_kept answers. Threads may share it."""

    def __init__(self, n_kept: int) -> None:
        self._n_kept = n_kept
        self._known: OrderedDict[tuple[Any, ...], T] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, path: Path, read: Callable[[Path], T]) -> T:
        """What `read` says of the file, now or when it was asked last. Raises OSError for a file that is not there."""
        state = path.stat()
        # The time of the last change of its inode cannot be set by a program, as that of its content can.
        key = (path, state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
        with self._lock:
            if key in self._known:
                return self._known[key]
        value = read(path)
        with self._lock:
            self._known[key] = value
            if len(self._known) > self._n_kept:
                self._known.popitem(last=False)
        return value
