"""The wire under the small Hub: HTTP/1.1 with ranges and chunked bodies, tokens, the faults asked for, and the log.

Enters: connections. Leaves: what `hub_routes.answer` says, whole or broken off as a Fault wants it.
"""

from __future__ import annotations

import json
import re
import secrets
import socket
import sys
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from hub_routes import Refused, Request, Response, answer

if TYPE_CHECKING:
    from hub_server import HubServer


@dataclass
class Fault:
    """Something that goes wrong at addresses matching `pattern`, `times` times after `skip` good answers."""

    pattern: str
    method: str | None = None
    status: int | None = None
    drop_after: int | None = None
    delay: float = 0.0
    times: int = 1
    skip: int = 0

    def strikes(self, method: str, path: str) -> bool:
        if self.times <= 0 or (self.method and method != self.method) or not re.search(self.pattern, path):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        self.times -= 1
        return True


@dataclass(frozen=True)
class Logged:
    """One request as it was answered. `n_bytes`: of body sent; `file`: where a file's content was asked for."""

    method: str
    path: str
    status: int
    n_bytes: int
    range: str
    user: str | None
    repo: str
    file: str


class Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    hub: HubServer

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is no error of the server's; anything else is shown as always."""
        if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


class _Body:
    """A request's body: read(n) up to its end, whether its length was told or it comes in chunks."""

    def __init__(self, source, headers, drop_after: int | None):
        self.source, self.left = source, int(headers.get("Content-Length") or 0)
        self.chunked = "chunked" in (headers.get("Transfer-Encoding") or "").lower()
        self.drop_after, self.n_read = drop_after, 0

    def read(self, n: int = -1) -> bytes:
        parts, missing = [], n
        while missing:
            if self.chunked and not self.left:
                self._next_chunk()
            piece = self.source.read(min(self.left, missing, 2**16) if missing > 0 else min(self.left, 2**16))
            if not piece:
                break
            self.left -= len(piece)
            self.n_read += len(piece)
            if self.drop_after is not None and self.n_read >= self.drop_after:
                raise ConnectionAbortedError("breaking off as told")
            parts.append(piece)
            if self.chunked and not self.left:
                self.source.readline()  # the line end behind every chunk
            missing = missing - len(piece) if missing > 0 else missing
        return b"".join(parts)

    def _next_chunk(self) -> None:
        self.left = int(self.source.readline().split(b";")[0] or b"0", 16)
        if self.left == 0:
            self.source.readline()
            self.chunked = False


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body go out in two writes
    timeout = 120

    def do_GET(self) -> None:
        hub: HubServer = self.server.hub
        address = urlsplit(self.path)
        fault = hub.fault(self.command, address.path)
        sending = self.command in ("GET", "HEAD")
        body = _Body(self.rfile, self.headers, None if fault is None or sending else fault.drop_after)
        headers = {key.lower(): value for key, value in self.headers.items()}
        request = Request(self.command, address.path, parse_qs(address.query, keep_blank_values=True), headers, body,
                          None)
        try:
            if fault and fault.drop_after is None and hub.stopping.wait(fault.delay):
                raise ConnectionAbortedError
            response = self._answer(request, fault)
            while body.read(2**20):  # what a refusal left unread would be taken for the next request
                pass
        except ConnectionAbortedError:
            self._log(request, 0, 0)
            self._break_off()
            return
        self._send(request, response, fault if sending else None)

    do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_GET

    def _answer(self, request: Request, fault: Fault | None) -> Response:
        hub = self.server.hub
        try:
            if fault and fault.status:
                raise Refused(fault.status, "This fault was asked for")
            given = request.headers.get("authorization")
            if given:
                request.user = hub.users.get(given.removeprefix("Bearer "))
                if request.user is None:
                    raise Refused(401, "Invalid credentials in Authorization header")
            return answer(hub, request)
        except Refused as refused:
            headers = {"X-Error-Message": refused.message, "Content-Type": "application/json", **refused.headers}
            if refused.code:
                headers["X-Error-Code"] = refused.code
            return Response(json.dumps({"error": refused.message}).encode(), refused.status, headers)

    def _send(self, request: Request, response: Response, fault: Fault | None) -> None:
        if not isinstance(response.body, bytes | Path):
            self._send_as_it_comes(request, response)
            return
        size = response.body.stat().st_size if isinstance(response.body, Path) else len(response.body)
        start, end, status = 0, size, response.status
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("range", ""))
        if asked and isinstance(response.body, Path):
            first, last = asked.groups()
            start = int(first) if first else max(size - int(last), 0)
            end = min(int(last) + 1, size) if first and last else size
            status = 206 if start < end else 416
            part = f"{start}-{end - 1}" if status == 206 else "*"
            response.headers["Content-Range"] = f"bytes {part}/{size}"
            end = end if status == 206 else start
        limit = None if fault is None else fault.drop_after
        n_bytes = 0 if self.command == "HEAD" else end - start if limit is None else min(end - start, limit)
        self._log(request, status, n_bytes)  # first: a client that has its answer may read the log
        self.send_response(status)
        for name, value in (response.headers | {"Content-Length": str(end - start)}).items():
            self.send_header(name, value)
        self.send_header("X-Request-Id", secrets.token_hex(8))
        self.end_headers()
        self._send_body(response.body, start, n_bytes)
        if limit is not None:
            self.server.hub.stopping.wait(fault.delay)
            self._break_off()

    def _send_as_it_comes(self, request: Request, response: Response) -> None:
        self._log(request, response.status, 0)
        self.send_response(response.status)
        for name, value in (response.headers | {"Transfer-Encoding": "chunked"}).items():
            self.send_header(name, value)
        self.end_headers()
        for piece in response.body:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def _send_body(self, body: bytes | Path, start: int, n_bytes: int) -> None:
        if isinstance(body, bytes):
            self.wfile.write(body[start:start + n_bytes])
            return
        with open(body, "rb") as file:
            file.seek(start)
            while n_bytes and (piece := file.read(min(n_bytes, 2**18))):
                self.wfile.write(piece)
                n_bytes -= len(piece)

    def _break_off(self) -> None:
        self.close_connection = True
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)

    def _log(self, request: Request, status: int, n_bytes: int) -> None:
        self.server.hub.requests.append(Logged(
            request.method, request.path, status, n_bytes, request.headers.get("range", ""),
            request.user.name if request.user else None, request.repo, request.file))

    def log_message(self, format: str, *args: object) -> None:
        if self.server.hub.verbose:
            super().log_message(format, *args)
