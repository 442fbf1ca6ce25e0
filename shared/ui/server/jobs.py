"""A piece of work that somebody waits for: its progress bar, its Stop button, and what it says when it cannot be done.

Enters: Gradio's request and progress bar. Leaves: `report` and `cancel` as `Serving.transcribe` takes them. A UserError
becomes a message on the visitor's page; any other exception is a bug and goes on. Work ends by itself when the client
that asked for it has gone.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import gradio as gr
from gradio.context import LocalContext

from shared.errors import Cancelled, UserError
from shared.ui.server import messages
from shared.ui.server.visitors import presence

GONE_SECONDS = 8.0  # without a connection over which a result could go: longer than a page takes to open one


class Job:
    """One visitor's running work. cancel: set to end it."""

    def __init__(self, bar: gr.Progress | None) -> None:
        self.cancel = threading.Event()
        self.over = threading.Event()
        self._bar = bar
        self._lead = ""

    def says(self, text: str, fraction: float | None = None) -> None:
        """Show what is going on. fraction: 0 … 1 where it is known; Gradio shows no words without one."""
        if self._bar is not None:
            self._bar(fraction or 0.0, desc=f"{self._lead}{text}")

    def part(self, lead: str) -> None:
        """What every message from here on begins with, such as the name of the file being read."""
        self._lead = f"{lead}: " if lead else ""

    def report(self, done: int, total: int | None) -> None:
        """Progress as the inference module tells it: windows done, of how many."""
        if not total:
            self.says(f"{done} passages read")
        else:
            self.says(f"passage {done} of {total}", min(done / total, 1.0))


_running: dict[str, set[Job]] = {}
_lock = threading.Lock()


@contextmanager
def job(request: gr.Request | None, bar: gr.Progress | None = None) -> Iterator[Job]:
    """Run the body as this visitor's work, which `stop` can end. Turns UserError and Cancelled into messages."""
    visitor = _visitor(request)
    running = Job(bar)
    with _lock:
        _running.setdefault(visitor, set()).add(running)
    event = LocalContext.event_id.get(None)
    if event is not None:  # it came over the network
        threading.Thread(target=_end_if_alone, args=(running, (visitor, event)), name="watch", daemon=True).start()
    try:
        yield running
    except UserError as error:
        raise messages.error(error) from None
    except Cancelled:
        raise messages.error("Stopped. Nothing was kept.", title="Stopped", seconds=4) from None
    finally:
        running.over.set()
        with _lock:
            _running[visitor].discard(running)
            if not _running[visitor]:
                del _running[visitor]


def stop(request: gr.Request) -> int:
    """End all work of this visitor: ffmpeg at once, decoding within a step. Returns how many pieces that was."""
    with _lock:
        jobs = list(_running.get(_visitor(request), ()))
    for running in jobs:
        running.cancel.set()
    return len(jobs)


def _end_if_alone(running: Job, names: tuple[str, ...]) -> None:
    """End work whose result nobody is connected to receive any more."""
    begun = time.monotonic()
    while not running.over.wait(0.5):
        if presence.absent_seconds(names, begun) > GONE_SECONDS:
            running.cancel.set()
            return


def _visitor(request: gr.Request | None) -> str:
    return getattr(request, "session_hash", None) or secrets.token_hex(8)  # a call without a session stands alone
