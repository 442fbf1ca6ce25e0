"""Each upload in a folder of its own.

Gradio names an upload's folder after its contents, so two visitors with the same file share one path, and the first to
be done would delete it under the second. This moves every upload to a folder with a random name as it arrives.
"""

from __future__ import annotations

import json
import secrets
from pathlib import Path

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.ui import UPLOADS


class OwnUploadFolders:
    """ASGI middleware around Gradio's upload route, whose answer is a JSON list of paths."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or not scope["path"].endswith("/upload"):
            await self.app(scope, receive, send)
            return
        start: Message = {}
        body = b""

        async def moved(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start":
                start = message
                return
            body += message.get("body", b"")
            if message.get("more_body"):
                return
            if start["status"] == 200:
                body = json.dumps([_moved(Path(path)) for path in json.loads(body)]).encode()
                start["headers"] = [(name, value) for name, value in start["headers"] if name != b"content-length"]
                start["headers"].append((b"content-length", str(len(body)).encode()))
            await send(start)
            await send({"type": "http.response.body", "body": body})

        await self.app(scope, receive, moved)


def _moved(path: Path) -> str:
    """The upload's new path, under the same name."""
    folder = UPLOADS / secrets.token_urlsafe(16)
    folder.mkdir()
    path.rename(folder / path.name)
    if not any(path.parent.iterdir()):
        path.parent.rmdir()
    return str(folder / path.name)
