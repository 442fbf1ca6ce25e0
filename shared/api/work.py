"""Requests that wait their turn: one is worked on at a time, a bounded number waits, and one whose client left ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from shared.errors import Cancelled, UserError

POLL_SECONDS = 0.1
T = TypeVar("T")


class Busy(Exception):
    """Too many requests wait already; the text says whose, and what to do."""


class Queue:
    """Each may be worked on or wait; the next one is refused."""

    def __init__(self, places: int, places_for_each: int | None = None) -> None:
        """places: for all requests together. places_for_each: for those of one visitor, None for as many as all."""
        self.places = places
        self._for_each = places_for_each or places
        self._taken: Counter[str] = Counter()
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="api")

    async def run(self, work: Callable[[threading.Event], T], gone: Callable[[], Awaitable[bool]], visitor: str = ""
                  ) -> T:
        """The result of `work(cancel)`, done in a thread when its turn comes.

        Args:
            work: is given an event that is set when nobody waits for the result any more.
            gone: tells whether the client has left.
            visitor: who asks.

        Raises:
            Busy: no place is left.
            Cancelled: the client has left.
        """
        with self._place(visitor):
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
                if not future.done():
                    future.add_done_callback(_unwaited)

    async def stream(self, work: Callable[[threading.Event, Callable[[Any], None]], None],
                     gone: Callable[[], Awaitable[bool]], visitor: str = "") -> AsyncIterator[Any]:
        """What `work(cancel, put)` puts, as it comes. Raises as `run`, Busy at once."""
        items: queue.SimpleQueue[Any] = queue.SimpleQueue()
        task = asyncio.ensure_future(self.run(lambda cancel: work(cancel, items.put), gone, visitor))
        try:
            while not (task.done() and items.empty()):
                with contextlib.suppress(queue.Empty):
                    while True:
                        yield items.get_nowait()
                await asyncio.wait({task}, timeout=POLL_SECONDS)
            await task
        finally:
            task.cancel()

    def check(self, visitor: str = "") -> None:
        """Raise Busy if another request of this visitor would be refused now."""
        if self._taken.total() >= self.places:
            raise Busy(f"{self.places} requests are waiting already; try again later")
        if self._taken[visitor] >= self._for_each:
            raise Busy(f"{self._for_each} of your requests are waiting already; wait for one of them")

    @contextlib.contextmanager
    def _place(self, visitor: str) -> Iterator[None]:
        self.check(visitor)
        self._taken[visitor] += 1
        try:
            yield
        finally:
            self._taken[visitor] -= 1
            self._taken += Counter()  # forgets those with none

    @staticmethod
    def _guarded(work: Callable[[threading.Event], T], cancel: threading.Event) -> T:
        if cancel.is_set():  # the client left while it waited
            raise Cancelled
        return work(cancel)


def _unwaited(future: asyncio.Future[Any]) -> None:
    """Work that nobody waits for has ended: that it was told to is no fault, anything else is."""
    error = None if future.cancelled() else future.exception()
    if error is not None and not isinstance(error, Cancelled | UserError):
        logging.getLogger(__name__).error("work of a client that left failed", exc_info=error)
