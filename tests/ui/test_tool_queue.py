"""Calls of tools wait in the one queue, tell how far they are, and end when nobody waits for them."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import httpx
import pytest
from gradio_client import Client, handle_file
from mcp import ClientSession
from mcp.types import CallToolResult
from running_app import running_app
from speech import clips, joined, not_short
from tool_calls import SOUND, call, in_session, left_over, until, wer

from shared.errors import Cancelled
from shared.ui.server import jobs


@pytest.fixture(scope="module")
def address() -> str:
    return running_app().address


def test_the_client_is_told_how_far_its_call_is(address, tmp_path):
    messages: list[str | None] = []

    async def work(session: ClientSession) -> CallToolResult:
        async def tell(progress: float, total: float | None, message: str | None) -> None:
            messages.append(message)

        return await session.call_tool("transcribe", {"audio": str(long(tmp_path, 2)), "language": "it"},
                                       progress_callback=tell)

    assert not in_session(address, work).isError
    assert any(message.startswith("passage ") for message in messages)


def long(folder: Path, times: int = 6) -> Path:
    from corpora import wav

    (folder / "long.wav").write_bytes(wav(joined([clip.path for clip in clips("it")] * times, pause=1.0).samples))
    return folder / "long.wav"


def test_a_client_that_leaves_ends_its_work(address, tmp_path):
    """Whether it cancels the call, closes its session, or is simply gone."""
    sound, seen = str(long(tmp_path)), []

    async def leave(session: ClientSession) -> None:
        asking = asyncio.ensure_future(session.call_tool("transcribe", {"audio": sound, "beam_size": 5}))
        while not any(one.text for one in jobs._active):
            await asyncio.sleep(0.05)
        seen.extend(jobs._active)
        asking.cancel()

    begun = time.monotonic()
    in_session(address, leave)
    while jobs._active:
        assert time.monotonic() - begun < 15, "its work goes on"
        time.sleep(0.05)
    assert seen[0].cancel.is_set() and isinstance(seen[0].problem, Cancelled)
    assert wer(call(address, "transcribe", audio=str(SOUND), language="it").structuredContent["text"]) < 0.3
    assert left_over() == []


def test_calls_from_several_clients_wait_for_one_another(address):
    texts: list[str] = []
    asking = [threading.Thread(target=lambda: texts.append(
        call(address, "transcribe", audio=str(SOUND), language="it").structuredContent["text"])) for _ in range(3)]
    for one in asking:
        one.start()
    for one in asking:
        one.join()
    assert len(texts) == 3 and max(map(wer, texts)) < 0.3


def test_pages_tools_endpoints_and_openais_routes_wait_in_one_queue(address, tmp_path):
    """Each of them once, behind a page's job: none begins before it is over, and then they come in their order."""
    gate, done, messages = threading.Event(), [], []
    padded = tmp_path / "padded.wav"  # what is shorter does not wait for it
    not_short(padded, SOUND)
    page = jobs.submit(jobs.Asker("page", "10.0.0.1", "owner", "upload"), lambda running: gate.wait(60))

    async def tell(progress: float, total: float | None, message: str | None) -> None:
        messages.append(message)

    def by_mcp() -> None:
        found = in_session(address, lambda session: session.call_tool(
            "transcribe", {"audio": str(padded), "language": "it"}, progress_callback=tell))
        done.append(("mcp", found.structuredContent["text"]))

    def by_openai() -> None:
        with padded.open("rb") as file:
            answer = httpx.post(f"{address}/v1/audio/transcriptions", files={"file": file},
                                data={"model": "whisper-1", "language": "it"}, timeout=300)
        done.append(("openai", answer.json()["text"]))

    def by_endpoint() -> None:
        found = Client(address, verbose=False).predict(str(padded), language="it", api_name="/transcribe")
        done.append(("endpoint", found["text"]))

    asking = []
    for number, ask in enumerate((by_mcp, by_openai, by_endpoint), 1):
        asking.append(threading.Thread(target=ask))
        asking[-1].start()
        until(lambda number=number: len(jobs.queue._waiting) == number)
    time.sleep(1.0)
    assert not done and len(jobs.queue._begun) == 1 and messages[-1] == "waiting for 1 before you"
    gate.set()
    for one in asking:
        one.join(120)
    assert [name for name, _ in done] == ["mcp", "openai", "endpoint"] and page.outcome() is True
    assert len({text for _, text in done}) == 1


def test_what_is_short_waits_for_no_long_one(address, tmp_path):
    gate = threading.Event()
    page = jobs.submit(jobs.Asker("page", "10.0.0.1", "owner", "upload"), lambda running: gate.wait(120))
    try:
        texts = [call(address, "transcribe", audio=str(SOUND), language="it").structuredContent["text"],
                 Client(address, verbose=False).predict(handle_file(str(SOUND)), language="it",
                                                        api_name="/transcribe")["text"]]
    finally:
        gate.set()
    assert texts[0] == texts[1] and wer(texts[0]) < 0.3
    assert not page.problem
