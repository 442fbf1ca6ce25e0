"""Who may read a folder of the cache: a shared lock for as long as a process lives, so that nobody removes it."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

if sys.platform != "win32":  # which removes no file that is open
    import fcntl

_HOLDING = threading.Lock()
HELD: dict[Path, int] = {}  # open files whose locks say that this process may read the folder


def use_of(folder: Path) -> Path:
    """A file beside a folder. Its time is that of the last use; who may read the folder holds a lock on it."""
    return folder.parent / f"{folder.name}.used"


def keep(folder: Path) -> None:
    """Until this process ends, others know that it may read the folder."""
    use = use_of(folder)
    with contextlib.suppress(OSError), _HOLDING:  # a cache that can only be read, or none yet
        if sys.platform == "win32":
            use.touch()
        elif folder not in HELD or not _is_file_at(HELD[folder], use):
            if folder in HELD:
                os.close(HELD.pop(folder))
            HELD[folder] = _locked(use, fcntl.LOCK_SH)
        os.utime(use)


def _locked(path: Path, kind: int) -> int:
    """An open file with a lock of this kind; one that was removed meanwhile is opened again."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(handle, kind)
        except OSError:
            os.close(handle)
            raise
        if _is_file_at(handle, path):
            return handle
        os.close(handle)


def _is_file_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except OSError:
        return False


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[bool]:
    """Whether no process may read the folder; none begins to within the block."""
    if sys.platform == "win32" or folder.name.startswith("."):
        yield True
        return
    try:
        handle = _locked(use_of(folder), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
        return
    try:
        yield True
    finally:
        os.close(handle)
