"""OpenAI's audio API, answered by this program: /v1/audio/transcriptions, /v1/audio/translations, /v1/models, /health.

Enters: HTTP requests as any client of that API sends them. Leaves: its answers and its errors. The checkpoints, the
limits and the rule which checkpoint answers are those of the apps. Documented in docs/openai-api.md.
"""

from __future__ import annotations

import asyncio
import functools
import hmac
import json
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from shared.api.lanes import lane_for
from shared.api.names import KnownNames
from shared.api.openai_forms import answer, events
from shared.api.openai_request import AUTOMATIC, Asked, ModelNotFound, names, read
from shared.api.uploads import FileOfForm, TooLarge, read_form
from shared.api.work import MODEL, Busy, Queue
from shared.audio import SHORT_BYTES
from shared.errors import Cancelled, UserError
from shared.options import LOOPBACK
from shared.serving import Answer, Request, Serving
from shared.transcript import Transcript, separator


def _address(request: HttpRequest) -> str:
    return request.client.host if request.client else ""


def _nothing(request: HttpRequest) -> None:
    pass


@dataclass(frozen=True)
class Settings:
    """How requests are let in.

    Attributes:
        api_key: what clients must send as their key, None for none.
        visitor: who sends a request; the network address unless named.
        arrived: called with a request before its work enters the queue, to set context variables that the work is to
            find.
    """

    api_key: str | None = None
    visitor: Callable[[HttpRequest], str] = _address
    arrived: Callable[[HttpRequest], None] = _nothing


@dataclass(frozen=True)
class _Inside:
    """What the routes have in common."""

    serving: Serving
    waiting: Queue
    settings: Settings


def routes(serving: Serving, settings: Settings, waiting: Queue) -> APIRouter:
    """The API's routes, to be included in an application of any kind.

    Args:
        serving: the checkpoints.
        settings: key and names of visitors.
        waiting: the application's queue.

    Returns:
        A router.
    """
    router = APIRouter(tags=["OpenAI"])
    refused = functools.partial(refusal, settings)
    inside = _Inside(serving, waiting, settings)

    @router.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok", "models": "loaded" if serving.is_loaded else "unloaded"}

    @router.get("/v1/models")
    async def models(request: HttpRequest) -> Response:
        return refused(request) or JSONResponse({"object": "list", "data": [_model(name) for name in names(serving)]})

    @router.get("/v1/models/{name:path}")
    async def model(request: HttpRequest, name: str) -> Response:
        if name not in (*names(serving), *AUTOMATIC):
            return refused(request) or _error(404, f"The model `{name}` does not exist", "model", "model_not_found")
        return refused(request) or JSONResponse(_model(name))

    @router.post("/v1/audio/transcriptions")
    async def transcriptions(request: HttpRequest) -> Response:
        return refused(request) or await _answered(request, "transcribe", inside)

    @router.post("/v1/audio/translations")
    async def translations(request: HttpRequest) -> Response:
        return refused(request) or await _answered(request, "translate", inside)

    return router


def create_app(serving: Serving, settings: Settings, hosts: tuple[str, ...] = LOOPBACK, waiting: Queue | None = None
               ) -> FastAPI:
    """An application with these routes alone.

    Args:
        serving: the checkpoints.
        settings: key and names of visitors.
        hosts: names under which it is reached; a request for another name, or from a page of another name, is refused
            (see `names`). ("*",) allows any.
        waiting: the queue; one of its own unless given.

    Returns:
        An application for any ASGI server.
    """
    app = FastAPI(title="whisper-spaces", docs_url=None, redoc_url=None)
    app.add_middleware(KnownNames, names=None if "*" in hosts else hosts, server_name="127.0.0.1")
    app.include_router(routes(serving, settings, waiting or Queue()))
    return app


def serve(serving: Serving, settings: Settings, *, host: str = "127.0.0.1", port: int = 8000) -> None:
    """Answer until stopped.

    Args:
        serving: the checkpoints.
        settings: key and names of visitors.
        host: address to listen on; on another than this machine's own any host name is accepted.
        port: 1 to 65535.
    """
    import uvicorn

    app = create_app(serving, settings, LOOPBACK if host in LOOPBACK else ("*",))
    uvicorn.run(app, host=host, port=port, log_level="warning")


async def _answered(request: HttpRequest, task: str, inside: _Inside) -> Response:
    serving, waiting, visitor = inside.serving, inside.waiting, inside.settings.visitor(request)
    try:
        waiting.check(visitor)  # before gigabytes are received
        form = await read_form(request, serving.limits.max_bytes)
    except Busy as error:
        return _busy(error)
    except (UserError, Cancelled) as error:
        return _failed(error)
    try:
        asked = read(form, task, serving)
    except UserError as error:
        await form.close()
        return _failed(error)
    if asked.stream:
        return _Stream(_events(request, asked, inside), asked.file)
    try:
        lane = await asyncio.to_thread(_lane, asked)
        inside.settings.arrived(request)
        found = await waiting.run(functools.partial(_transcribe, serving, asked), request.is_disconnected, visitor,
                                  lane)
        body, kind = answer(found.transcript, asked.form, asked.granularities, task)
    except Busy as error:
        return _busy(error)
    except (UserError, Cancelled) as error:
        return _failed(error)
    finally:
        asked.file.close()
    headers = _headers(found)
    return JSONResponse(body, headers=headers) if kind == "application/json" else Response(
        body, headers=headers, media_type=kind)


class _Stream(StreamingResponse):
    """Events about a file, which is closed whenever the client leaves: before the first event is asked for, between
    two, or in the midst of one. (Of a generator that is not run to its end, nobody runs the `finally` at once.)"""

    def __init__(self, events: AsyncIterator[str], file: FileOfForm) -> None:
        super().__init__(events, media_type="text/event-stream", headers={"cache-control": "no-cache"})
        self._file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._file.close()


async def _events(request: HttpRequest, asked: Asked, inside: _Inside) -> AsyncIterator[str]:
    """Server-sent events: text as it is decoded, then the whole. An error after the first event is an event too."""

    def work(cancel: threading.Event, put: Callable[[Any], None]) -> None:
        written = ""

        def on_text(new: Transcript) -> None:
            nonlocal written
            lead = separator(new.text) if written else ""
            if new.text:
                written += lead + new.text
                put({"type": "transcript.text.delta", "delta": lead + new.text})

        found = _transcribe(inside.serving, asked, cancel, on_text)
        for event in events(found.transcript, diarized=asked.form == "diarized_json"):
            put(event)

    try:
        lane = await asyncio.to_thread(_lane, asked)
        inside.settings.arrived(request)
        visitor = inside.settings.visitor(request)
        async for event in inside.waiting.stream(work, request.is_disconnected, visitor, lane):
            yield _event(event)
    except (UserError, Cancelled) as error:
        yield _event({"type": "error", "error": _error_body(_words(error), None, None)})
    asked.file.close()  # before the client is told that this was all
    yield "data: [DONE]\n\n"


def _lane(asked: Asked) -> str:
    if asked.file.size > SHORT_BYTES:  # need not be copied to be looked at
        return MODEL
    with asked.file.used() as path:
        return lane_for([path])


def _transcribe(serving: Serving, asked: Asked, cancel: threading.Event,
                on_text: Callable[[Transcript], None] | None = None) -> Answer:
    with asked.file.used() as path:
        request = Request(path, asked.options)
        if asked.checkpoint is None:
            return serving.transcribe(request, cancel=cancel, on_text=on_text)
        return serving.transcribe_with(asked.checkpoint, request, cancel=cancel, on_text=on_text)


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "whisper-spaces"}


def _headers(found: Answer) -> dict[str, str]:
    """Which checkpoint answered, and why not the fine-tuned one; headers hold ASCII only."""
    notes = [note for note in (found.notice, *found.transcript.warnings) if note]
    headers = {"x-checkpoint": str(found.checkpoint)} | ({"x-notice": " ".join(notes)} if notes else {})
    return {name: value.encode("ascii", "replace").decode().replace("\n", " ") for name, value in headers.items()}


def refusal(settings: Settings, request: HttpRequest) -> Response | None:
    """Whether the key is right.

    Args:
        settings: with the key.
        request: with the client's.

    Returns:
        The answer to a wrong or missing key, None to a right one.
    """
    if settings.api_key is None:
        return None
    kind, _, key = request.headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and hmac.compare_digest(key.strip().encode(), settings.api_key.encode()):
        return None
    return _error(401, "Incorrect API key provided", None, "invalid_api_key")


def _busy(error: Busy) -> Response:
    response = _error(429, str(error), None, "queue_full")
    response.headers["retry-after"] = "5"
    return response


def _failed(error: UserError | Cancelled) -> Response:
    if isinstance(error, TooLarge):
        return _error(413, str(error), "file", "file_too_large")
    if isinstance(error, ModelNotFound):
        return _error(404, str(error), "model", "model_not_found")
    if isinstance(error, UserError):
        return _error(400, str(error), None, "invalid_value")
    return Response(status_code=499)  # the client has left: nobody reads this


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__


def _error(status: int, message: str, param: str | None, code: str | None) -> JSONResponse:
    return JSONResponse({"error": _error_body(message, param, code)}, status)


def _error_body(message: str, param: str | None, code: str | None) -> dict[str, Any]:
    return {"message": message, "type": "invalid_request_error", "param": param, "code": code}


def _event(event: dict[str, Any]) -> str:
    return f"data: {json.dumps(event, ensure_ascii=False)}\n\n"
