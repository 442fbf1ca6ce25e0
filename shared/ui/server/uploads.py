"""What visitors send: each file in a folder of its own, and not more of it than the machine can take.

Gradio names an upload's folder after its contents, so two visitors with the same file share one path, and the first to
be done would delete it under the second. Here every request is received into a folder of its own, and each of its files
then gets one with a random name. Gradio limits the size of one file; here that of a request and of all there is.
"""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path

from gradio.route_utils import MultiPartException, upload_fn
from gradio.routes import file_upload_statuses
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.system.files import files_below
from shared.ui import UPLOADS

MAX_BODY_BYTES = 32_000_000  # of any other request: texts, and pieces of live sound
ARRIVING = "arriving-"  # begins the names of folders into which requests are being received


class _TooMuch(Exception):
    """More was sent than there is room for."""


class Uploads:
    """ASGI middleware in place of Gradio's upload route; it limits what other routes receive as well."""

    def __init__(self, app: ASGIApp, max_file_bytes: int | None, max_total_bytes: int | None) -> None:
        """max_file_bytes: of one file. max_total_bytes: of a request, and of all files kept at once; None for any."""
        self.app = app
        self._max_file = float("inf") if max_file_bytes is None else max_file_bytes
        self._max_total = float("inf") if max_total_bytes is None else max_total_bytes
        self._arriving: dict[str, float] = {}  # bytes of each request being received, or what it said it would send

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in ("POST", "PUT", "PATCH"):
            await self.app(scope, receive, send)
            return
        if scope["path"].endswith("/gradio_api/upload"):
            response = await self._answer(scope, receive)
            await response(scope, receive, send)
            return
        if _declared(Request(scope)) > MAX_BODY_BYTES:
            await _too_large("The request is too large.")(scope, receive, send)
            return
        try:
            await self.app(scope, _counted(receive, MAX_BODY_BYTES), send)
        except _TooMuch:
            return  # sent in pieces without saying how many; the connection is closed

    async def _answer(self, scope: Scope, receive: Receive) -> Response:
        token = secrets.token_urlsafe(16)
        folder = UPLOADS / f"{ARRIVING}{token}"
        room = self._max_total - sum(self._arriving.values()) - _kept_bytes()
        declared = _declared(Request(scope))
        self._arriving[token] = declared
        try:
            if declared > room:
                raise _TooMuch
            return JSONResponse(await self._received(Request(scope, _counted(receive, room)), folder))
        except _TooMuch:
            limit = f"{self._max_total / 1e6:.0f} MB"
            return _too_large(f"There is no room for this much now. Limit: {limit} for all files together. What to do: "
                              "send less at once, or try again in some minutes.")
        except MultiPartException as error:
            too_large = "maximum allowed size" in error.message
            return _too_large(error.message) if too_large else PlainTextResponse(error.message, status_code=400)
        except HTTPException as error:
            return PlainTextResponse(str(error.detail), status_code=error.status_code)
        except ClientDisconnect:
            return Response(status_code=400)
        finally:
            del self._arriving[token]
            shutil.rmtree(folder, ignore_errors=True)

    async def _received(self, request: Request, folder: Path) -> list[str]:
        progress = request.query_params.get("upload_id")
        paths, _, _ = await upload_fn(request, folder, self._max_file, progress,
                                      upload_progress=file_upload_statuses if progress else None)
        moved: dict[str, Path] = {}
        answer = []
        for path in map(Path, paths):  # equal files of one name come as one path, twice
            own = UPLOADS / secrets.token_urlsafe(16)
            own.mkdir()
            if str(path) in moved:
                shutil.copyfile(moved[str(path)], own / path.name)
            else:
                os.replace(path, own / path.name)
                moved[str(path)] = own / path.name
            answer.append(str(own / path.name))
        return answer


def _too_large(text: str) -> Response:
    """The connection is closed, or what is still being sent would be received to its end."""
    return PlainTextResponse(text, status_code=413, headers={"connection": "close"})


def _declared(request: Request) -> float:
    length = request.headers.get("content-length", "")
    return float(length) if length.isdecimal() else 0.0


def _counted(receive: Receive, limit: float) -> Receive:
    """`receive` until more than `limit` bytes have come."""
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            raise _TooMuch
        return message

    return counted


def room_for_file(max_file_bytes: int | None, max_total_bytes: int | None) -> float:
    """Bytes that one more file may have, whichever way it comes."""
    file = float("inf") if max_file_bytes is None else max_file_bytes
    return file if max_total_bytes is None else max(0.0, min(file, max_total_bytes - _kept_bytes()))


def _kept_bytes() -> int:
    """Of all that lies in Gradio's folder, but for what is arriving."""
    return sum(state.st_size for path, state in files_below(UPLOADS)
               if not path.relative_to(UPLOADS).parts[0].startswith(ARRIVING))
