"""A piece of work that somebody waits for: its progress bar, its Stop button, and what it says when it cannot be done.

Enters: Gradio's request and progress bar. Leaves: `report` and `cancel` as `Serving.transcribe` takes them. A UserError
becomes a message on the visitor's page; any other exception is a bug and goes on.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import gradio as gr

from shared.errors import Cancelled, UserError


class Job:
    """What one visitor's running work listens to."""

    def __init__(self, bar: gr.Progress | None) -> None:
        self.cancel = threading.Event()
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
    try:
        yield running
    except UserError as error:
        raise gr.Error(str(error), title=error.what, duration=20, print_exception=False) from None
    except Cancelled:
        raise gr.Error("Stopped. Nothing was kept.", title="Stopped", duration=4, print_exception=False) from None
    finally:
        with _lock:
            _running[visitor].discard(running)
            if not _running[visitor]:
                del _running[visitor]


@contextmanager
def messages() -> Iterator[None]:
    """For quick work that needs no Stop button: UserError becomes a message on the page."""
    try:
        yield
    except UserError as error:
        raise gr.Error(str(error), title=error.what, duration=20, print_exception=False) from None


def stop(request: gr.Request) -> int:
    """End all work of this visitor: ffmpeg at once, decoding within a step. Returns how many pieces that was."""
    with _lock:
        jobs = list(_running.get(_visitor(request), ()))
    for running in jobs:
        running.cancel.set()
    return len(jobs)


def _visitor(request: gr.Request | None) -> str:
    return getattr(request, "session_hash", None) or secrets.token_hex(8)  # a call without a session stands alone
