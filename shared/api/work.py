"""Requests that wait their turn: one is worked on at a time, a bounded number waits, and one whose client left ends."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from shared.errors import Cancelled

POLL_SECONDS = 0.1
T = TypeVar("T")


class Busy(Exception):
    """Too many requests wait already."""


class Queue:
    """places: requests that may wait or be worked on; the next one is refused."""

    def __init__(self, places: int) -> None:
        self.places = places
        self._taken = 0
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="api")

    async def run(self, work: Callable[[threading.Event], T], gone: Callable[[], Awaitable[bool]]) -> T:
        """The result of `work(cancel)`, done in a thread when its turn comes.

        Args:
            work: is given an event that is set when nobody waits for the result any more.
            gone: tells whether the client has left.

        Raises:
            Busy: no place is left.
            Cancelled: the client has left.
        """
        with self._place():
            cancel = threading.Event()
            future = asyncio.get_running_loop().run_in_executor(self._pool, self._guarded, work, cancel)
            try:
                while not future.done():
                    await asyncio.wait({future}, timeout=POLL_SECONDS)
                    if not future.done() and await gone():
                        cancel.set()
                return future.result()
            finally:
                cancel.set()  # also where the server itself is stopped

    async def stream(self, work: Callable[[threading.Event, Callable[[Any], None]], None],
                     gone: Callable[[], Awaitable[bool]]) -> AsyncIterator[Any]:
        """What `work(cancel, put)` puts, as it comes. Raises as `run`, Busy at once."""
        items: queue.SimpleQueue[Any] = queue.SimpleQueue()
        task = asyncio.ensure_future(self.run(lambda cancel: work(cancel, items.put), gone))
        try:
            while not (task.done() and items.empty()):
                with contextlib.suppress(queue.Empty):
                    while True:
                        yield items.get_nowait()
                await asyncio.wait({task}, timeout=POLL_SECONDS)
            await task
        finally:
            task.cancel()

    @property
    def full(self) -> bool:
        return self._taken >= self.places

    @contextlib.contextmanager
    def _place(self) -> Any:
        if self.full:
            raise Busy
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1

    @staticmethod
    def _guarded(work: Callable[[threading.Event], T], cancel: threading.Event) -> T:
        if cancel.is_set():  # the client left while it waited
            raise Cancelled
        return work(cancel)
