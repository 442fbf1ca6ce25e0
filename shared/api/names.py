"""Under which names the app answers, and which pages may call it.

A page of another site can have its own name lead to this machine (DNS rebinding) and then use the app with the rights
of the person who runs it, and any page can send a form here. Both are refused: the Host header must be a name that this
app serves under, and so must the Origin, where a browser sends one. Nor may such a page load things from here, or show
the app in a frame of its own, where a click meant for the page would be a click in the app.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PAGES = ("document", "iframe", "frame", "embed", "object")  # Sec-Fetch-Dest of what is shown, not used by another page
OWN = ("localhost", "127.0.0.1", "::1")


def served_names(server_name: str, environment: Mapping[str, str] = os.environ) -> frozenset[str] | None:
    """The names to answer to.

    A public Space without ALLOWED_ORIGINS answers to any: there is nothing of its owner's behind it, and pages
    elsewhere may use its API.

    Args:
        server_name: where the app listens.
        environment: with ALLOWED_ORIGINS, which adds names; `*` allows any. The process's own unless given.

    Returns:
        Names in lower case; None for any.
    """
    given = environment.get("ALLOWED_ORIGINS", "").replace(",", " ").split()
    if "*" in given or (environment.get("SPACE_ID") and not given):
        return None
    names = {*OWN, server_name, environment.get("SPACE_HOST", ""), *map(_host, given)}
    if _listens_to_others(server_name):
        names |= {socket.gethostname(), f"{socket.gethostname()}.local", socket.getfqdn()}
    return frozenset(name.strip("[]").lower().rstrip(".") for name in names if name)


class KnownNames:
    """ASGI middleware that answers 403 to requests under, or from, another name."""

    def __init__(self, app: ASGIApp, names: Iterable[str] | None, server_name: str) -> None:
        """Wrap an application.

        Args:
            app: what answers to the others.
            names: of `served_names`.
            server_name: where it listens; where others can reach it, plain addresses are names too.
        """
        self.app = app
        self._names = None if names is None else frozenset(names)
        self._any_address = _listens_to_others(server_name)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._names is None or scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        stranger = self._stranger(headers)
        if stranger is None:
            await self.app(scope, receive, self._unframed(send))
            return
        text = f"This app does not answer to {stranger[:100]}. What to do: its owner can add it to ALLOWED_ORIGINS.\n"
        await PlainTextResponse(text, status_code=403)(scope, receive, send)

    def _stranger(self, headers: Headers) -> str | None:
        """The name under which, or the page from which, the app may not be used; None if it may."""
        host, origin = _host(headers.get("host", "")), headers.get("origin")
        if not self._is_known(host):
            return host or "a request without a name"
        if origin is None:  # pictures and scripts come without; frames are forbidden by a header, links are not
            is_part = headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-dest") not in PAGES
            return "a page of another site" if is_part and not self._is_own(headers.get("referer", ""), host) else None
        return None if self._is_own(origin, host) else _host(origin) or "a page without a name"

    def _is_own(self, page: str, host: str) -> bool:
        """Whether a page is this app's, or of a name that it may be called from.

        A plain address is a name of this app's where it leads here, but anybody has one to show a page under.
        """
        return _host(page) in {host, *(self._names or ())}

    def _unframed(self, send: Send) -> Send:
        """`send` that forbids pages of other names to show the app in a frame."""
        names = sorted(name for name in self._names or () if re.fullmatch(r"[a-z0-9.-]+", name))
        hub = ["https://huggingface.co"] if os.environ.get("SPACE_ID") else []
        pages = [f"{scheme}://{name}:*" for name in names for scheme in ("http", "https")]
        policy = " ".join(["frame-ancestors 'self'", *hub, *pages])

        async def with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).append("Content-Security-Policy", policy)
            await send(message)

        return with_policy

    def _is_known(self, host: str) -> bool:
        assert self._names is not None
        return host in self._names or (self._any_address and _is_address(host))


def _listens_to_others(server_name: str) -> bool:
    """Whether the app listens on more than this machine's own loopback."""
    return server_name not in OWN


def _is_address(host: str) -> bool:
    """A plain IP address cannot be made to lead elsewhere, as a name can."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _host(text: str) -> str:
    """The host of a Host header or an origin, without its port: "" where there is none ("null")."""
    try:
        return (urlsplit(text if "//" in text else f"//{text}").hostname or "").rstrip(".") if text != "null" else ""
    except ValueError:
        return ""
