"""Pieces of work that somebody waits for: where they wait, how far they are, the text so far, and what ends them.

Enters: a function and who asked. Leaves: a `Job`, which a page watches and a program's call awaits. Work runs in a
thread of its own, in lanes that let so many run at once and the others wait in order; it does not depend on the page
that asked. A visitor who reloads or changes pages finds it again by the secret that their browser keeps. It ends when
its owner presses Stop, or has gone: a program for GONE_SECONDS, a visitor's last page for LEFT_SECONDS.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import secrets
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.context import LocalContext

from shared.errors import Cancelled, UserError
from shared.transcript import Segment, Transcript
from shared.ui.server import messages
from shared.ui.server.owners import owner_of, sessions_of
from shared.ui.server.visitors import MAX_WAITING, address_of, presence

GONE_SECONDS = 8.0  # a program without a connection over which its result could go
LEFT_SECONDS = 45.0 if os.environ.get("SPACE_ID") else 120.0  # a visitor without an open page: a reload is far shorter
KEPT_SECONDS = 3600.0  # work that is over is remembered
MAX_WORK = 64  # waiting and running, of all visitors
MODEL, LINKS, LIVE = "model", "links", "live"
AT_ONCE = {MODEL: 1, LINKS: 3, LIVE: 4}  # by lane; who downloads or records keeps nobody waiting


@dataclass(frozen=True)
class Asker:
    """Who asked. owner: a visitor's secret; None for a program. page: the short name of a page that shows the work."""

    session: str
    address: str
    owner: str | None = None
    page: str | None = None
    event: str | None = None  # None for a call within this process

    @classmethod
    def of(cls, request: gr.Request | None, page: str | None = None) -> Asker:
        session = getattr(request, "session_hash", None)
        client = getattr(request, "client", None)
        address = address_of(client.host, request.headers) if request is not None and client else secrets.token_hex(8)
        # A call without a session stands alone.
        return cls(session or secrets.token_hex(8), address, owner_of(session), page, LocalContext.event_id.get(None))

    def absent_seconds(self, since: float) -> float:
        """How long there has been no connection to them."""
        names = [self.session, self.event or ""]
        if self.owner is not None:
            names += [f"page {session}" for session in sessions_of(self.owner)]
        return presence.absent_seconds(names, since)

    @property
    def patience(self) -> float:
        return GONE_SECONDS if self.owner is None else LEFT_SECONDS


class Job:
    """One piece of work. cancel: set to end it."""

    def __init__(self, bar: Callable[..., Any] | None = None, asker: Asker | None = None, lane: str = "") -> None:
        """bar: told of each step, as (fraction, desc=words)."""
        self.id = secrets.token_urlsafe(16)
        self.asker, self.lane = asker or Asker.of(None), lane
        self._bar = bar
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
        self._lead = ""

    def says(self, text: str, fraction: float | None = None) -> None:
        """Show what is going on. fraction: 0 … 1 where it is known."""
        self.text = f"{self._lead}{text}"
        if fraction is not None:
            self.fraction = min(max(fraction, 0.0), 1.0)
        self.changed = time.monotonic()
        if self._bar is not None:  # Gradio shows no words without a fraction
            self._bar(fraction or 0.0, desc=self.text)

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
        """What the work gave, once it is over. Raises what went wrong, as a message for the page."""
        if self.problem is not None:
            raise self.problem
        return self.value

    def _run(self, work: Callable[[Job], Any], release: Callable[[], None]) -> None:
        try:
            with _as_messages():
                if self.cancel.is_set():
                    raise Cancelled
                self.value = work(self)
        except BaseException as problem:
            self.problem = problem
        finally:
            release()
            with _lock:
                _running[self.lane].remove(self)
            self.over.set()
            self.changed = time.monotonic()
            _start_next()


_waiting: list[tuple[Job, Callable[[], None]]] = []
_running: defaultdict[str, list[Job]] = defaultdict(list)
_known: dict[str, Job] = {}  # also those that are over, for an hour
_lock = threading.RLock()  # held for moments only
_watcher: threading.Thread | None = None


def submit(asker: Asker, work: Callable[[Job], Any], *, lane: str = MODEL,
           release: Callable[[], None] = lambda: None) -> Job:
    """Take on a piece of work; it starts when it is its turn.

    Args:
        asker: who asked.
        work: called in a thread of its own.
        lane: one of AT_ONCE.
        release: called when the work is over, and when it never starts.

    Raises:
        UserError: too much is waiting already.
    """
    running = Job(None, asker, lane)
    context = contextvars.copy_context()  # ZeroGPU finds the visitor's quota there
    thread = threading.Thread(target=context.run, args=(running._run, work, release), name="job", daemon=True)
    with _lock:
        waiting = sum(one.asker.address == asker.address for one, _ in _waiting)
        if waiting >= MAX_WAITING:
            raise UserError("You have too many jobs waiting already", got=waiting, hint="wait for one")
        if len(_waiting) >= MAX_WORK:
            raise UserError("The app is busy", got=f"{len(_waiting)} jobs waiting", hint="try again in some minutes")
        _remember(running)
        _waiting.append((running, thread.start))
    _start_next()
    return running


async def awaited(running: Job, bar: gr.Progress | None = None) -> Any:
    """What the work gives, once it is over; meanwhile `bar` shows how far it is. Raises what went wrong."""
    shown: tuple[float, str] | None = None
    while not running.over.is_set():
        now = running.fraction, place_of(running)
        if bar is not None and now != shown:  # Gradio shows no words without a fraction
            bar(now[0], desc=now[1])
            shown = now
        await asyncio.sleep(0.1)
    return running.outcome()


def place_of(running: Job) -> str:
    """What is going on, in words."""
    with _lock:
        waiting = [one for one, _ in _waiting if one.lane == running.lane]
        if running not in waiting:
            return running.text or "beginning"
        before = waiting.index(running) + len(_running[running.lane])
    return f"waiting for {before} before you" if before else "beginning"


@contextmanager
def job(request: gr.Request | None, bar: gr.Progress | None = None) -> Iterator[Job]:
    """Run the body as this visitor's work, in no lane. Turns UserError and Cancelled into messages."""
    running = Job(bar, Asker.of(request))
    running.is_running = True
    with _lock:
        _running[""].append(running)
        _watch()
    try:
        with _as_messages():
            yield running
    finally:
        running.over.set()
        with _lock:
            _running[""].remove(running)


def stop(request: gr.Request) -> int:
    """End all work of this session: ffmpeg at once, decoding within a step. Returns how many pieces that was."""
    return _end_all([one for one in _active() if one.asker.session == request.session_hash])


def stop_of(owner: str, page: str) -> int:
    """End the visitor's work that a page shows, whichever of their pages asked for it."""
    return _end_all([one for one in _active() if owner and one.asker.owner == owner and one.asker.page == page])


def leave(session: str | None) -> None:
    """A page was closed: what no visitor can find again ends."""
    for running in _active():
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


def _active() -> list[Job]:
    with _lock:
        return [*(one for one, _ in _waiting), *(one for lane in _running.values() for one in lane)]


def _end_all(mine: list[Job]) -> int:
    for running in mine:
        _end(running)
    return len(mine)


def _end(running: Job) -> None:
    running.cancel.set()
    with _lock:  # it need not wait for its turn
        start = next((start for one, start in _waiting if one is running), None)
        if start is not None:
            _waiting[:] = [pair for pair in _waiting if pair[0] is not running]
            _running[running.lane].append(running)
    if start is not None:
        start()


def _start_next() -> None:
    with _lock:
        ready = []
        for lane, at_once in AT_ONCE.items():
            free = at_once - len(_running[lane])
            ready += [pair for pair in _waiting if pair[0].lane == lane][: max(free, 0)]
        for running, _ in ready:
            _running[running.lane].append(running)
            running.is_running = True
            running.begun = running.part_begun = time.monotonic()
        started = {id(running) for running, _ in ready}
        _waiting[:] = [pair for pair in _waiting if id(pair[0]) not in started]
    for _, start in ready:
        start()


def _remember(running: Job) -> None:
    now = time.monotonic()
    for one in [one for one in _known.values() if one.over.is_set() and now - one.changed > KEPT_SECONDS]:
        del _known[one.id]
    if running.asker.page is not None and running.asker.owner is not None:
        for one in [one for one in _known.values() if one.over.is_set() and one.asker.owner == running.asker.owner
                    and one.asker.page == running.asker.page]:
            del _known[one.id]  # another took its place; its result is in the list of results
        _known[running.id] = running
    _watch()


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
            active = _active()
            if not active:
                _watcher = None
                return
        for running in active:
            asker = running.asker
            if asker.event is None or running.cancel.is_set():  # a call within this process waits itself
                continue
            if asker.absent_seconds(running.begun) > asker.patience:
                running.is_left = True
                _end(running)
        time.sleep(0.5)


@contextmanager
def _as_messages() -> Iterator[None]:
    try:
        yield
    except UserError as problem:
        raise messages.error(problem) from None
    except Cancelled:
        raise messages.error("Stopped. Nothing was read yet.", title="Stopped", seconds=4) from None
