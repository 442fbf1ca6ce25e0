"""Temporary files of this process, all under one folder that goes with it, also after a kill.

Enters: nothing but a prefix. Leaves: folders that only this user may read. What visitors send, what links bring, copies
of cookies: all of it lies here, so that one sweep finds what a killed process left.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from shared.errors import UserError

PREFIX = "whisperspaces-"  # not that of version 0.1, whose sweep takes a folder without its own lock for left over
LOCK = ".lock"  # held as long as the process lives; the system frees it when the process is killed


@functools.cache
def temporary_root() -> Path:
    """This process's temporary folder, made at the first call; folders of processes that were killed are removed.

    Raises:
        UserError: nothing can be written to the system's temporary folder.
    """
    try:
        parent = Path(tempfile.gettempdir()).resolve()
        root = parent / f"{PREFIX}{secrets.token_hex(8)}"
        root.mkdir(mode=0o700)
        lock = FileLock(root / LOCK)
        lock.acquire()
    except OSError as error:
        raise UserError("No temporary file can be written", got=error.strerror or type(error).__name__,
                        hint="make room, or set TMPDIR to a folder that may be written") from error
    _sweep(parent, root)
    owner = os.getpid()

    def close() -> None:
        if os.getpid() == owner:  # not a forked child's to remove
            lock.release()
            shutil.rmtree(root, ignore_errors=True)

    atexit.register(close)
    return root


@contextlib.contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
    """A folder under `temporary_root` that is gone after the block, whatever happens. Raises UserError."""
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=temporary_root()))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(parent: Path, own: Path) -> None:
    """Remove the folders whose process is gone: their lock can be had."""
    for other in parent.glob(f"{PREFIX}*"):
        if other == own or not (other / LOCK).exists():
            continue
        with contextlib.suppress(Timeout, OSError), FileLock(other / LOCK, timeout=0):
            shutil.rmtree(other, ignore_errors=True)
