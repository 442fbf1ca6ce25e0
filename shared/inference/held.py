"""Something large that is in memory from its first use until nobody has used it for a while."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Held(Generic[T]):
    """What `make` gives, made once however many threads ask for it at once, and again after `drop`."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._value: T | None = None
        self._used = time.monotonic()
        self._lock = threading.Lock()

    def get(self) -> T:
        """The value; making it may take seconds. Raises what `make` raises."""
        with self._lock:
            if self._value is None:
                self._value = self._make()
            self._used = time.monotonic()
            return self._value

    @property
    def is_there(self) -> bool:
        return self._value is not None

    def drop(self, idle_seconds: float = 0.0) -> bool:
        """Forget the value if it was not used for so long; work that has it goes on. Returns whether it went."""
        if not self._lock.acquire(blocking=False):  # it is being made
            return False
        try:
            if self._value is None or time.monotonic() - self._used < idle_seconds:
                return False
            self._value = None
            return True
        finally:
            self._lock.release()
