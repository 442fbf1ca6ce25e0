"""Whose a page is: a secret that the browser keeps, so that a reload, another page or Back finds the same visitor.

The secret is made here, lies in the browser's localStorage, and is told once by each page; afterwards the page's
session stands for it. A program has no secret: its session alone is its owner.
"""

from __future__ import annotations

import re
import secrets
import threading
from collections import OrderedDict

import gradio as gr

MAX_SESSIONS = 20_000  # pages that are remembered; the oldest go first
_SECRET = re.compile(r"[\w-]{43}")

_owners: OrderedDict[str, str] = OrderedDict()  # session → secret
_lock = threading.Lock()


def known(kept: object, session: str | None) -> str:
    """The visitor's secret for this page: the one that the browser kept, else a new one."""
    secret = kept if isinstance(kept, str) and _SECRET.fullmatch(kept) else secrets.token_urlsafe(32)
    if session is not None:
        with _lock:
            _owners[session] = secret
            while len(_owners) > MAX_SESSIONS:
                _owners.popitem(last=False)
    return secret


def owner_of(session: str | None) -> str | None:
    """The secret of the visitor whose page this is; None for a program, and for a page that has not told it."""
    with _lock:
        return _owners.get(session or "")


def sessions_of(owner: str) -> list[str]:
    """The visitor's pages, also those that are closed."""
    with _lock:
        return [session for session, one in _owners.items() if one == owner]


def remember() -> gr.BrowserState:
    """Rendered into a page: its browser keeps the secret, and the page tells it when it is opened."""
    return gr.BrowserState("", storage_key="whisper-spaces-visitor", secret="kept by the visitor's own browser")
