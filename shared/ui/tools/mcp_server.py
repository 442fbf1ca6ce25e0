"""The five tools over the Model Context Protocol, at /mcp of the app: for Claude, editors and agents.

Enters: calls as any client of the protocol makes them (streamable HTTP). Leaves: a short text and structured values, or
a sentence that says what is wrong. The checkpoints, limits and queue are those of the pages; which names and pages are
answered is decided before a request comes here (`shared.api.names`). A client that leaves, or cancels a call,
ends its work.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import anyio
from mcp import types
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.requests import Request as HttpRequest
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

import shared
from shared.api import Settings, refusal
from shared.errors import Cancelled, UserError
from shared.serving import Serving
from shared.ui.server.jobs import Asker
from shared.ui.server.uploads import MAX_BODY_BYTES
from shared.ui.tools.arguments import checked, schema
from shared.ui.tools.files import Files
from shared.ui.tools.sentences import sentence
from shared.ui.tools.work import TOOLS, Caller, called

PATH = "/mcp"
MAX_SESSIONS = 1000
ABOUT = ("Speech recognition with Whisper on the user's own recordings: transcribe, translate into English, tell "
         "speakers apart, and compare a fine-tuned checkpoint with the base one.")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class McpServer:
    """route: to be put into the app. running: to be entered in the app's lifespan."""

    route: Route
    running: Callable[[Any], contextlib.AbstractAsyncContextManager[None]]


def mcp_server(serving: Serving, settings: Settings, own_files: bool) -> McpServer:
    """The tools as a part of an app that is not running yet.

    Args:
        serving: what answers.
        settings: key and names of visitors.
        own_files: whether paths of this machine are read.
    """
    calls = _Calls(serving, settings, Files(serving.limits, own_files))
    server: Server[object, HttpRequest] = Server("whisper-spaces", version=shared.__version__, instructions=ABOUT)
    server.list_tools()(_listed)
    # Not validated there: `arguments.checked` says in a sentence what is wrong.
    server.call_tool(validate_input=False)(functools.partial(calls.answer, server))
    endpoint = _Endpoint(server, settings)
    return McpServer(Route(PATH, endpoint), endpoint.running)


def _is_news(record: logging.LogRecord) -> bool:
    """The SDK logs a session that its client closed as an error."""
    return not (record.exc_info and isinstance(record.exc_info[1], anyio.ClosedResourceError))


logging.getLogger("mcp.server.streamable_http").addFilter(_is_news)


class _Endpoint:
    """The protocol's address: refuses a wrong key, and hands on what is left.

    An app may start more than once: where its port was taken at the last moment, or the start was slow, Gradio tries
    the next port, each time in a thread of its own. A session manager runs once, so every start has one.
    """

    def __init__(self, server: Server[object, HttpRequest], settings: Settings) -> None:
        self._server, self._settings = server, settings
        self._managers: dict[asyncio.AbstractEventLoop, StreamableHTTPSessionManager] = {}

    @contextlib.asynccontextmanager
    async def running(self, _: Any) -> AsyncIterator[None]:
        """For the app's lifespan."""
        loop = asyncio.get_running_loop()
        manager = StreamableHTTPSessionManager(self._server, max_request_body_size=MAX_BODY_BYTES,
                                               max_sessions=MAX_SESSIONS)
        async with manager.run():
            self._managers[loop] = manager
            try:
                yield
            finally:
                del self._managers[loop]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = refusal(self._settings, HttpRequest(scope))
        if refused is not None:
            await refused(scope, receive, send)
            return
        await self._managers[asyncio.get_running_loop()].handle_request(scope, receive, send)


async def _listed() -> list[types.Tool]:
    return [types.Tool(
        name=tool.name, title=tool.title, description=tool.description, inputSchema=schema(tool.takes),
        outputSchema=tool.gives.model_json_schema(),
        annotations=types.ToolAnnotations(readOnlyHint=True, idempotentHint=True, openWorldHint=tool.name != "models"))
        for tool in TOOLS]


@dataclass(frozen=True)
class _Calls:
    """Calls of tools, each worked on when its turn comes."""

    serving: Serving
    settings: Settings
    files: Files

    async def answer(self, server: Server[object, HttpRequest], name: str, arguments: dict[str, Any]
                     ) -> types.CallToolResult:
        """The result of one call; what is wrong is told in a sentence."""
        tool = next((tool for tool in TOOLS if tool.name == name), None)
        if tool is None:
            return _wrong(f"There is no such tool. Limit: {', '.join(tool.name for tool in TOOLS)}.")
        try:
            asked = checked(tool.takes, arguments)
            context = server.request_context
            assert context.request is not None, "it came over HTTP"
            self.settings.arrived(context.request)
            asker = Asker(secrets.token_hex(8), self.settings.visitor(context.request))
            found = await called(tool, asked, self.serving, self.files,
                                 Caller(asker, _Progress(context), context.request.is_disconnected))
        except UserError as error:
            return _wrong(sentence(error, arguments))
        except Cancelled:
            return _wrong("Stopped.")
        except Exception:
            log.exception("The tool %s failed", name)
            return _wrong("This failed in a way that was not foreseen. What to do: tell whoever runs the server, whose "
                          "log says more.")
        return types.CallToolResult(content=[types.TextContent(type="text", text=found.short())],
                                    structuredContent=found.model_dump())


class _Progress:
    """Tells the client how far its call is, where it asked to be told. Used in the event loop."""

    def __init__(self, context: Any) -> None:
        self._session, self._request = context.session, str(context.request_id)
        self._token = context.meta.progressToken if context.meta else None
        self._last = ""
        self._sending: set[asyncio.Task[None]] = set()

    def __call__(self, fraction: float, desc: str) -> None:
        if self._token is None or desc == self._last:
            return
        self._last = desc
        sending = asyncio.get_running_loop().create_task(self._send(fraction, desc))
        self._sending.add(sending)
        sending.add_done_callback(self._sending.discard)

    async def _send(self, fraction: float, text: str) -> None:
        with contextlib.suppress(Exception):  # the client has left; its call ends by itself
            await self._session.send_progress_notification(self._token, fraction, 1.0, text, self._request)


def _wrong(text: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)], isError=True)
