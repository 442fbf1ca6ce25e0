"""The one door for what is said in a message: without paths of this machine, and for a page escaped.

Gradio puts the text of a message into the page as HTML, and a message may quote what a visitor wrote. A program gets
JSON, where "&lt;" would be wrong.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path

import gradio as gr
from gradio.context import LocalContext

from shared.errors import Cancelled, UserError
from shared.system.cache import cache_folder
from shared.ui import RESULTS, ROOT, UPLOADS

SECONDS = 20.0  # a message stays on the page
STOPPED = "Stopped. Nothing was read yet."


def without_paths(text: str) -> str:
    """The text with every path of this machine cut to its last part.

    >>> without_paths(f"Got: {UPLOADS}/x1/talk.mp3 (damaged)")
    'Got: talk.mp3 (damaged)'
    """
    return _paths().sub(lambda found: found[0].rstrip("/").rpartition("/")[2], text)


def as_message(text: str) -> str:
    """The text as the one who asked wants it: for a page nothing in it is markup; a program gets it as it is."""
    plain = without_paths(text)
    return plain if _asked_by_a_program() else escape(plain, quote=False)


def _asked_by_a_program() -> bool:
    """Whether this work was asked for by Gradio's client or over HTTP. A page says that it is one with each request."""
    request = LocalContext.request.get(None)
    headers = getattr(request, "headers", None)
    return headers is not None and headers.get("x-gradio-user") != "app"


def error(problem: UserError | str, *, title: str | None = None, seconds: float = SECONDS) -> gr.Error:
    """To be raised: a message that something cannot be done, and what to do."""
    title = title or (problem.what if isinstance(problem, UserError) else "Error")
    return gr.Error(as_message(str(problem)), title=as_message(title), duration=seconds, print_exception=False)


def info(text: str, *, seconds: float = 3.0) -> None:
    """Show a message in passing."""
    gr.Info(as_message(text), duration=seconds)


@contextmanager
def shown() -> Iterator[None]:
    """UserError and Cancelled become messages on the page."""
    try:
        yield
    except UserError as problem:
        raise error(problem) from None
    except Cancelled:
        raise error(STOPPED, title="Stopped", seconds=4) from None


def _paths() -> re.Pattern[str]:
    """A path below one of the folders that this program writes to or is installed in, or below a home."""
    code = Path(__file__).resolve().parents[3]
    roots = {UPLOADS, RESULTS, ROOT, Path(tempfile.gettempdir()), Path(tempfile.gettempdir()).resolve(),
             cache_folder(), code, *_home()}
    longest_first = sorted((str(root) for root in roots if len(root.parts) > 1), key=len, reverse=True)
    return re.compile(rf"(?:{'|'.join(map(re.escape, longest_first))})(?:/[^\s/:;,()'\"<>]+)*/?")


def _home() -> list[Path]:
    try:
        return [Path.home()]
    except RuntimeError:  # no HOME, and no entry for this user
        return []
