"""Pieces of work that somebody waits for: how far they are, the text so far, and what ends them.

Enters: a function and who asked. Leaves: a `Job`, which a page watches and a program's call awaits. When it begins is
the queue's (`shared.api.Queue`), which pages, tools and OpenAI's routes share. Work does not depend on the page that
asked: a visitor who reloads or changes pages finds it again by the secret that their browser keeps. It ends when its
owner presses Stop, or has gone: a program for GONE_SECONDS, a visitor's last page for visitors.LEFT_SECONDS.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.context import LocalContext

from shared.api import LINKS, LIVE, MODEL, Queue, Turn
from shared.checkpoint import Account
from shared.errors import Cancelled
from shared.transcript import Segment, Transcript
from shared.ui.server import visitors
from shared.ui.server.owners import owner_of, sessions_of
from shared.ui.server.visitors import address_of, presence

__all__ = ["LINKS", "LIVE", "MODEL", "Asker", "Job", "awaited", "forget", "latest", "leave", "place_of",
           "queue", "stop", "stop_of", "submit"]
GONE_SECONDS = 8.0  # a program without a connection over which its result could go
KEPT_SECONDS = 3600.0  # work that is over is remembered
MAX_WAITING = 8  # of one visitor in the queue, beside what is being worked on
POLL_SECONDS = 0.1
queue = Queue(places_for_each=MAX_WAITING)


@dataclass(frozen=True)
class Asker:
    """Who asked. owner: a visitor's secret; None for a program. page: the short name of a page that shows the work."""

    session: str
    address: str
    owner: str | None = None
    page: str | None = None
    event: str | None = None  # None for one who waits for the result without Gradio
    account: Account | None = None  # on the Hub, where they signed in

    @classmethod
    def of(cls, request: gr.Request | None, page: str | None = None, account: Account | None = None) -> Asker:
        session = getattr(request, "session_hash", None)
        client = getattr(request, "client", None)
        address = address_of(client.host, request.headers) if request is not None and client else secrets.token_hex(8)
        # A call without a session stands alone.
        return cls(session or secrets.token_hex(8), address, owner_of(session), page, LocalContext.event_id.get(None),
                   account)

    def absent_seconds(self, since: float) -> float:
        """How long there has been no connection to them."""
        names = [self.session, self.event or ""]
        if self.owner is not None:
            names += [f"page {session}" for session in sessions_of(self.owner)]
        return presence.absent_seconds(names, since)

    @property
    def patience(self) -> float:
        return GONE_SECONDS if self.owner is None else visitors.LEFT_SECONDS


class Job:
    """One piece of work. cancel: set to end it."""

    def __init__(self, asker: Asker | None = None) -> None:
        self.id = secrets.token_urlsafe(16)
        self.asker = asker or Asker.of(None)
        self.cancel = threading.Event()
        self.over = threading.Event()
        self.is_left = False  # ended because its owner had gone
        self.is_running = False
        self.text, self.fraction = "", 0.0
        self.begun = self.changed = time.monotonic()  # `begun`: asked for, then started
        self.part_begun = self.begun
        self.segments: list[Segment] = []  # of the part that is being read
        self.language: str | None = None
        self.reached = 0.0
        self.n_part = 0
        self.value: Any = None
        self.problem: BaseException | None = None
        self.result_ids: list[str] = []
        self.turn: Turn | None = None
        self._lead = ""

    def says(self, text: str, fraction: float | None = None) -> None:
        """Show what is going on. fraction: 0 … 1 where it is known."""
        self.text = f"{self._lead}{text}"
        if fraction is not None:
            self.fraction = min(max(fraction, 0.0), 1.0)
        self.changed = time.monotonic()

    def part(self, lead: str) -> None:
        """The next of several recordings. lead: what every message from here on begins with, such as its name."""
        self._lead = f"{lead}: " if lead else ""
        self.segments, self.reached, self.fraction = [], 0.0, 0.0
        self.n_part += 1
        self.part_begun = time.monotonic()

    def report(self, done: int, total: int | None) -> None:
        """Progress as the inference module tells it: windows done, of how many."""
        if not total:
            self.says(f"{done} passages read")
        else:
            self.says(f"passage {done} of {total}", min(done / total, 1.0))

    def read(self, new: Transcript) -> None:
        """Text as the inference module tells it: the new segments, and the second up to which all is read."""
        self.segments = [*self.segments, *new.segments]
        self.language = self.language or new.language
        self.reached = max(self.reached, new.duration)
        self.changed = time.monotonic()

    @property
    def seconds_left(self) -> float | None:
        """By the pace so far; None while there is too little to tell."""
        elapsed = time.monotonic() - self.part_begun
        if not self.is_running or self.fraction < 0.03 or elapsed < 1.0:
            return None
        return elapsed * (1 - self.fraction) / self.fraction

    def outcome(self) -> Any:
        """What the work gave, once it is over. Raises what went wrong: UserError, Cancelled …"""
        if self.problem is not None:
            raise self.problem
        return self.value

    def _run(self, work: Callable[[Job], Any], release: Callable[[], None]) -> None:
        self.is_running = True
        self.begun = self.part_begun = time.monotonic()
        try:
            if self.cancel.is_set():
                raise Cancelled
            self.value = work(self)
        except BaseException as problem:
            self.problem = problem
        finally:
            release()
            with _lock:
                _active.remove(self)
            self.changed = time.monotonic()
            self.over.set()


_active: list[Job] = []  # waiting or being worked on
_known: dict[str, Job] = {}  # those that a page may ask for; also those that are over, for an hour
_lock = threading.RLock()  # held for moments only
_watcher: threading.Thread | None = None


def submit(asker: Asker, work: Callable[[Job], Any], *, lane: str = MODEL,
           release: Callable[[], None] = lambda: None) -> Job:
    """Take on a piece of work; it starts when it is its turn.

    Args:
        asker: who asked.
        work: called in a thread of its own.
        lane: one of `shared.api.AT_ONCE`.
        release: called when the work is over, and when it never starts.

    Raises:
        Busy: too much is waiting already.
    """
    running = Job(asker)
    running.turn = Turn(lambda: running._run(work, release), asker.address, lane)
    with _lock:  # which the thread needs to be over
        queue.enter(running.turn)
        _remember(running)
        _active.append(running)
        _watch()
    return running


async def awaited(running: Job, bar: Callable[..., Any] | None = None, gone: Callable[[], Awaitable[bool]] | None = None
                  ) -> Any:
    """What the work gives, once it is over.

    Args:
        running: of `submit`.
        bar: told of each step as (fraction 0 … 1, desc=words), as `gr.Progress` takes it.
        gone: tells whether whoever asked has left, which ends the work; where Gradio's connections do not tell.

    Raises:
        UserError, Cancelled: what the work raised.
    """
    shown: tuple[float, str] | None = None
    try:
        while not running.over.is_set():
            now = running.fraction, place_of(running)
            if bar is not None and now != shown:  # Gradio shows no words without a fraction
                bar(now[0], desc=now[1])
                shown = now
            if gone is not None and not running.cancel.is_set() and await gone():
                _end(running)
            await asyncio.sleep(POLL_SECONDS)
    except asyncio.CancelledError:  # the call itself was cancelled
        if gone is not None:
            _end(running)
        raise
    return running.outcome()


def place_of(running: Job) -> str:
    """What is going on, in words."""
    n_before = queue.n_before(running.turn) if running.turn is not None else None
    if n_before is None:
        return running.text or "beginning"
    return f"waiting for {n_before} before you" if n_before else "beginning"


def stop(request: gr.Request) -> int:
    """End all work of this session: ffmpeg at once, decoding within a step. Returns how many pieces that was."""
    return _end_all([one for one in _now() if one.asker.session == request.session_hash])


def stop_of(owner: str, page: str) -> int:
    """End the visitor's work that a page shows, whichever of their pages asked for it."""
    return _end_all([one for one in _now() if owner and one.asker.owner == owner and one.asker.page == page])


def leave(session: str | None) -> None:
    """A page was closed: what no visitor can find again ends."""
    for running in _now():
        if running.asker.session == session and (running.asker.owner is None or running.asker.page is None):
            _end(running)


def latest(owner: str, page: str) -> Job | None:
    """The visitor's last piece of work on a page, running or over."""
    with _lock:
        mine = [one for one in _known.values() if one.asker.owner == owner and one.asker.page == page]
    return mine[-1] if mine else None


def forget(result_id: str) -> None:
    """Its result was deleted: nothing is left to find."""
    with _lock:
        for one in list(_known.values()):
            if result_id in one.result_ids and one.over.is_set():
                one.result_ids.remove(result_id)
                if not one.result_ids:
                    del _known[one.id]


def _now() -> list[Job]:
    with _lock:
        return list(_active)


def _end_all(mine: list[Job]) -> int:
    for running in mine:
        _end(running)
    return len(mine)


def _end(running: Job) -> None:
    running.cancel.set()
    if running.turn is not None:
        queue.hurry(running.turn)


def _remember(running: Job) -> None:
    now = time.monotonic()
    for one in [one for one in _known.values() if one.over.is_set() and now - one.changed > KEPT_SECONDS]:
        del _known[one.id]
    if running.asker.page is not None and running.asker.owner is not None:
        for one in [one for one in _known.values() if one.over.is_set() and one.asker.owner == running.asker.owner
                    and one.asker.page == running.asker.page]:
            del _known[one.id]  # another took its place; its result is in the list of results
        _known[running.id] = running


def _watch() -> None:
    global _watcher
    if _watcher is None or not _watcher.is_alive():
        _watcher = threading.Thread(target=_end_abandoned, name="watch", daemon=True)
        _watcher.start()


def _end_abandoned() -> None:
    """End work whose result nobody is connected to receive any more."""
    global _watcher
    while True:
        with _lock:
            if not _active:
                _watcher = None
                return
        for running in _now():
            asker = running.asker
            if asker.event is None or running.cancel.is_set():  # who waits without Gradio tells it themselves
                continue
            if asker.absent_seconds(running.begun) > asker.patience:
                running.is_left = True
                _end(running)
        time.sleep(0.5)
