"""Calling the tools over MCP with its own SDK, and what they leave behind."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult
from paths import DATA
from speech import Clip, clips

from shared.system.temporary import temporary_root
from shared.wer import word_errors

NAMES = ["transcribe", "transcribe_link", "compare", "compare_test_set", "models"]
ITALIAN = clips("it")[1]
SOUND = DATA / ITALIAN.path


def in_session(address: str, work: Callable[[ClientSession], Awaitable[Any]], **headers: str) -> Any:
    """What `work` gives with the SDK's own client."""
    async def run() -> Any:
        client = httpx.AsyncClient(headers=headers, timeout=300)
        async with (client, streamable_http_client(f"{address}/mcp", http_client=client) as (read, write, _),
                    ClientSession(read, write) as session):
            await session.initialize()
            return await work(session)

    return asyncio.run(run())


def call(address: str, name: str, **arguments: Any) -> CallToolResult:
    return in_session(address, lambda session: session.call_tool(name, arguments))


def text_of(found: CallToolResult) -> str:
    return "\n".join(part.text for part in found.content)


def wer(text: str, clip: Clip = ITALIAN) -> float:
    return word_errors(clip.text, text, clip.language).wer


def as_data_url(path: Path, kind: str = "audio/flac") -> str:
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def upload(address: str, path: Path) -> str:
    return httpx.post(f"{address}/gradio_api/upload", files=[("files", (path.name, path.read_bytes()))]).json()[0]


def left_over() -> list[Path]:
    return list(temporary_root().glob("tool-*"))


def until(is_so: Callable[[], bool]) -> None:
    begun = time.monotonic()
    while not is_so():
        assert time.monotonic() - begun < 60
        time.sleep(0.02)
