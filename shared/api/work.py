"""Whose turn it is: work waits in lanes, each lane has so many at once in the order they came, too much is refused.

The one queue of a program: the pages, the tools and OpenAI's routes of an app take their turns in the same `Queue`.
Knows nothing of what the work is.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import queue
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import Future
from typing import Any, TypeVar

from shared.errors import Cancelled, UserError

POLL_SECONDS = 0.1
PLACES = 64  # that may wait, of all visitors
MODEL, SHORT, LINKS, LIVE = "model", "short", "links", "live"
# By lane. Short recordings do not wait behind long ones and are decoded together; who downloads or records keeps nobody
# waiting.
AT_ONCE = {MODEL: 1, SHORT: 16, LINKS: 3, LIVE: 4}
T = TypeVar("T")


class Busy(UserError):
    """Too much is waiting already; the text says whose, and what to do."""


class Turn:
    """A place in a lane of a `Queue`."""

    def __init__(self, work: Callable[[], None], visitor: str = "", lane: str = MODEL) -> None:
        """What is done when the turn comes.

        Args:
            work: called in a thread of its own, with the context variables of the caller (ZeroGPU finds the visitor's
                quota there).
            visitor: who asked.
            lane: MODEL, SHORT, LINKS or LIVE.
        """
        self.visitor, self.lane = visitor, lane
        self._work, self._context = work, contextvars.copy_context()

    def _run(self) -> None:
        self._context.run(self._work)


class Queue:
    """Whose turn it is. Calls may come from any thread."""

    def __init__(self, places: int = PLACES, places_for_each: int | None = None,
                 at_once: Mapping[str, int] = AT_ONCE) -> None:
        """What is being worked on takes no place.

        Args:
            places: that may wait, of all visitors.
            places_for_each: of those, for one visitor; None for as many as all.
            at_once: how many each lane works on.
        """
        self.places, self._for_each, self._at_once = places, places_for_each or places, dict(at_once)
        self._waiting: list[Turn] = []
        self._begun: list[Turn] = []
        self._lock = threading.Lock()  # held for moments only

    def enter(self, turn: Turn) -> None:
        """Let it begin when its lane is free.

        Args:
            turn: a new one.

        Raises:
            Busy: no place is left.
        """
        with self._lock:
            self._check(turn.visitor, turn.lane)
            self._waiting.append(turn)
        self._begin_next()

    def check(self, visitor: str = "", lane: str = MODEL) -> None:
        """Whether there is a place.

        Args:
            visitor: who would ask.
            lane: where.

        Raises:
            Busy: another of this visitor's would be refused now.
        """
        with self._lock:
            self._check(visitor, lane)

    def hurry(self, turn: Turn) -> None:
        """It begins now, if it has not: for what has been ended, which only has to clear up.

        Args:
            turn: one that entered.
        """
        with self._lock:
            if turn not in self._waiting:
                return
            self._waiting.remove(turn)
        self._start(turn)

    def n_before(self, turn: Turn) -> int | None:
        """How many of its lane come before it.

        Args:
            turn: one that entered.

        Returns:
            Those at work included; None once it has begun.
        """
        with self._lock:
            waiting = [one for one in self._waiting if one.lane == turn.lane]
            if turn not in waiting:
                return None
            return waiting.index(turn) + sum(one.lane == turn.lane for one in self._begun)

    async def run(self, work: Callable[[threading.Event], T], gone: Callable[[], Awaitable[bool]], visitor: str = "",
                  lane: str = MODEL) -> T:
        """Do some work in a thread when its turn comes, and wait for it.

        Args:
            work: is given an event that is set when nobody waits for the result any more.
            gone: tells whether the client has left.
            visitor: who asks.
            lane: where it waits.

        Returns:
            What `work` returns; what it raises is raised here.

        Raises:
            Busy: no place is left.
            Cancelled: the client has left.
        """
        cancel, outcome = threading.Event(), Future[T]()

        def answer() -> None:
            try:
                if cancel.is_set():  # the client left while it waited
                    raise Cancelled
                outcome.set_result(work(cancel))
            except BaseException as problem:
                outcome.set_exception(problem)

        turn = Turn(answer, visitor, lane)
        self.enter(turn)
        future = asyncio.wrap_future(outcome)
        try:
            while not future.done():
                await asyncio.wait({future}, timeout=POLL_SECONDS)
                if not future.done() and await gone():
                    cancel.set()
                    self.hurry(turn)
        except BaseException:  # nobody waits any more: the client's own task was cancelled, or the server is stopped
            cancel.set()
            self.hurry(turn)
            future.add_done_callback(_unwaited)
            raise
        return future.result()

    async def stream(self, work: Callable[[threading.Event, Callable[[Any], None]], None],
                     gone: Callable[[], Awaitable[bool]], visitor: str = "", lane: str = MODEL) -> AsyncIterator[Any]:
        """The same for work that gives its result in parts.

        Args:
            work: is given the event, and a function that takes each part.
            gone, visitor, lane: as in `run`.

        Yields:
            The parts as they come.

        Raises:
            Busy: no place is left; at once.
            Cancelled: the client has left.
        """
        items: queue.SimpleQueue[Any] = queue.SimpleQueue()
        task = asyncio.ensure_future(self.run(lambda cancel: work(cancel, items.put), gone, visitor, lane))
        try:
            while not (task.done() and items.empty()):
                with contextlib.suppress(queue.Empty):
                    while True:
                        yield items.get_nowait()
                await asyncio.wait({task}, timeout=POLL_SECONDS)
        except BaseException:
            task.cancel()
            task.add_done_callback(_unwaited)
            raise
        await task

    def _check(self, visitor: str, lane: str) -> None:
        if self._free(lane) > 0:  # it need not wait
            return
        waiting = sum(one.visitor == visitor for one in self._waiting)
        if waiting >= self._for_each:
            raise Busy("Too many of your requests are waiting already", got=waiting, limit=self._for_each,
                       hint="wait for one of them")
        if len(self._waiting) >= self.places:
            raise Busy("Too many requests are waiting already", got=len(self._waiting), limit=self.places,
                       hint="try again in some minutes")

    def _free(self, lane: str) -> int:
        return self._at_once[lane] - sum(one.lane == lane for one in self._begun)

    def _begin_next(self) -> None:
        with self._lock:
            ready = []
            for lane in self._at_once:
                ready += [one for one in self._waiting if one.lane == lane][: max(self._free(lane), 0)]
            self._begun += ready
            self._waiting = [one for one in self._waiting if one not in ready]
        for turn in ready:
            self._start(turn)

    def _start(self, turn: Turn) -> None:
        threading.Thread(target=self._work_on, args=(turn,), name="work", daemon=True).start()

    def _work_on(self, turn: Turn) -> None:
        try:
            turn._run()
        finally:
            with self._lock:
                if turn in self._begun:  # what was hurried is in no lane
                    self._begun.remove(turn)
            self._begin_next()


def _unwaited(future: asyncio.Future[Any]) -> None:
    """Work that nobody waits for has ended: that it was told to is no fault, anything else is."""
    error = None if future.cancelled() else future.exception()
    if error is not None and not isinstance(error, Cancelled | UserError):
        logging.getLogger(__name__).error("work of a client that left failed", exc_info=error)
