"""All that programs call at the app's address beside its pages: OpenAI's routes, the tools, and how to use them."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr
from gradio.context import LocalContext
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from shared.api import Settings, routes
from shared.serving import Serving
from shared.ui.server import jobs
from shared.ui.tools.document import agents_page
from shared.ui.tools.files import reads_own_files
from shared.ui.tools.mcp_server import mcp_server


def _as_gradio_does(request: Request) -> None:
    """What Gradio does for requests of its own: `spaces` looks there for whose quota a ZeroGPU call is set against, and
    `messages` for whether a page asked."""
    LocalContext.request.set(gr.Request(request))


@dataclass(frozen=True)
class Programs:
    """routes: before the pages' own. running: to be entered in the app's lifespan."""

    routes: tuple[BaseRoute, ...]
    running: Callable[[Any], AbstractAsyncContextManager[None]]

    @property
    def app_options(self) -> dict[str, Any]:
        """For the application's constructor."""
        return {"lifespan": self.running}


def programs(serving: Serving, settings: Settings) -> Programs:
    """OpenAI's routes and the tools, in the queue of the pages; and a page that tells agents how to use them."""
    settings = replace(settings, arrived=_as_gradio_does)
    tools = mcp_server(serving, settings, reads_own_files())

    def agents(request: Request) -> Response:
        host = os.environ.get("SPACE_HOST")  # a Space's proxy speaks plain HTTP to the app
        address = f"https://{host}" if host else str(request.base_url).rstrip("/")
        return PlainTextResponse(agents_page(address), media_type="text/markdown")

    return Programs((tools.route, Route("/agents.md", agents), *routes(serving, settings, jobs.queue).routes),
                    tools.running)
