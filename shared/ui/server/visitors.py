"""Who is asking, and whether they are still there.

Enters: the traffic of the app, as ASGI middleware around Gradio's routes. Leaves: `address_of` and `presence`.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections import Counter
from collections.abc import Iterable
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

LEFT_SECONDS = 45.0 if os.environ.get("SPACE_ID") else 120.0  # without an open page; a reload is far shorter
_EVENTS = re.compile(r"/(?:queue/data|call/(?:v2/)?[^/]+/(?P<event>[^/]+))/?$")
_OPEN = re.compile(r"/heartbeat/(?P<session>[^/]+)/?$")


def address_of(client: str | None, headers: Headers) -> str:
    """The network address that stands for a visitor. On a Space the proxy in front of it names it in a header."""
    forwarded = headers.get("x-forwarded-for", "").split(",")[0].strip() if os.environ.get("SPACE_ID") else ""
    return forwarded or client or "unknown"


def visitor_of(request: Request) -> str:
    """The same for a request."""
    return address_of(request.client.host if request.client else None, request.headers)


class Presence:
    """Which sessions have a connection open over which their results would reach them."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()
        self._left: dict[str, float] = {}  # when the last connection of a session closed
        self._lock = threading.Lock()

    def came(self, name: str) -> None:
        with self._lock:
            self._open[name] += 1
            self._left.pop(name, None)

    def went(self, name: str) -> None:
        with self._lock:
            self._open[name] -= 1
            if self._open[name] <= 0:
                del self._open[name]
                self._left = {one: at for one, at in self._left.items() if time.monotonic() - at < 3600}
                self._left[name] = time.monotonic()

    def absent_seconds(self, names: Iterable[str], since: float) -> float:
        """How long none of the names (a session, an event) has been connected; `since`: the earliest that counts."""
        with self._lock:
            names = list(names)
            if any(self._open[name] for name in names if name in self._open):
                return 0.0
            return time.monotonic() - max([since, *(self._left[name] for name in names if name in self._left)])


presence = Presence()


class WatchConnections:
    """ASGI middleware that tells `presence` who waits for results."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name = _listening(scope)
        if name is None:
            await self.app(scope, receive, send)
            return
        presence.came(name)
        try:
            await self.app(scope, receive, send)
        finally:
            presence.went(name)


def _listening(scope: Scope) -> str | None:
    """The session or event whose results this request waits for; "page …" while a page is open at all."""
    if scope["type"] != "http" or scope["method"] != "GET":
        return None
    page = _OPEN.search(scope["path"])
    if page is not None:
        return f"page {page['session']}"
    found = _EVENTS.search(scope["path"])
    if found is None:
        return None
    return found["event"] or parse_qs(scope["query_string"].decode("latin-1")).get("session_hash", [""])[0]
