"""Under which names the app answers, and which pages may call it.

A page of another site can have its own name lead to this machine (DNS rebinding) and then use the app with the rights
of the person who runs it, and any page can send a form here. Both are refused: the Host header must be a name that this
app serves under, and so must the Origin, where a browser sends one.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

OWN = ("localhost", "127.0.0.1", "::1")


def served_names(server_name: str, environment: Mapping[str, str] = os.environ) -> frozenset[str] | None:
    """The names to answer to; None for any.

    server_name: where the app listens. ALLOWED_ORIGINS adds names, `*` allows any. A public Space without that variable
    answers to any: there is nothing of its owner's behind it, and pages elsewhere may use its API.
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
        """names: of `served_names`. server_name: where others can reach the app, plain addresses are names too."""
        self.app = app
        self._names = None if names is None else frozenset(names)
        self._any_address = _listens_to_others(server_name)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._names is None or scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        for given in (headers.get("host", ""), headers.get("origin")):
            if given is not None and not self._is_known(_host(given)):
                name = _host(given)[:100] or "a page without a name"
                text = f"This app does not answer to {name}. What to do: its owner can add it to ALLOWED_ORIGINS.\n"
                await PlainTextResponse(text, status_code=403)(scope, receive, send)
                return
        await self.app(scope, receive, send)

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
