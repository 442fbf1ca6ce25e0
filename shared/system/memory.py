"""Memory that is free again, given back to the system."""

from __future__ import annotations

import contextlib
import ctypes
import gc


def give_back() -> None:
    """Collect what nobody refers to, and return freed memory to the system."""
    gc.collect()
    trim()


def trim() -> None:
    """Return freed memory to the system, which glibc keeps otherwise. Does nothing with another C library."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
