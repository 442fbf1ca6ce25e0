"""On ZeroGPU every way of asking uses the quota of who asks, and says why there is no GPU."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError
from running_app import running_app
from tool_calls import SOUND, in_session, text_of

from shared.serving import zero_gpu


@pytest.fixture(scope="module")
def address() -> str:
    return running_app().address


@pytest.fixture
def gpus(monkeypatch) -> Iterator[list[dict[str, str]]]:
    """ZeroGPU without a GPU: what the client of `spaces` asks the machine's scheduler, which has none to give.

    What is around a function there needs a Space's drivers; `scheduled` asks as it does.
    """
    from spaces.utils import gradio_request_var
    from spaces.zero import client as zero_client

    def scheduled(*given: Any) -> None:
        zero_client.schedule(task_id=1, request=gradio_request_var().get(None),
                             duration=timedelta(seconds=zero_gpu._gpu_seconds(*given)))

    asked: list[dict[str, str]] = []

    class Scheduler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(dict(parse_qsl(urlsplit(self.path).query)))
            self.send_response(503)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Scheduler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(zero_client.Config, "zero_device_api_url", f"http://127.0.0.1:{server.server_address[1]}")
        monkeypatch.setattr(zero_gpu, "ON_ZERO_GPU", True)
        monkeypatch.setattr(zero_gpu, "_recognise_on_gpu", scheduled)
        monkeypatch.setattr(zero_gpu, "_detect_on_gpu", scheduled)
        yield asked
        server.shutdown()


def test_on_zero_gpu_each_way_of_asking_uses_the_quota_of_who_asks(address, gpus):
    """And says in words why there is no GPU."""
    token, stranger = (f"e30.{base64.urlsafe_b64encode(body).decode().rstrip('=')}.x" for body in (b"{}", b'{"a": 1}'))

    def openai(stream: bool, token: str) -> str:
        with SOUND.open("rb") as file:
            return httpx.post(f"{address}/v1/audio/transcriptions", files={"file": file}, timeout=300,
                              headers={"x-ip-token": token}, data={"language": "it", "stream": str(stream)}).text

    def mcp() -> str:
        return text_of(in_session(address, lambda session: session.call_tool(
            "transcribe", {"audio": str(SOUND), "language": "it"}), **{"x-ip-token": token}))

    def endpoint() -> str:
        with pytest.raises(AppError) as raised:
            Client(address, verbose=False, headers={"x-ip-token": token}).predict(
                str(SOUND), language="it", api_name="/transcribe")
        return str(raised.value)

    asking = [mcp, endpoint, lambda: openai(False, token), lambda: openai(True, token),
              lambda: openai(False, stranger)]
    for ask, owner in zip(asking, [token] * 4 + [stranger], strict=True):
        assert "No GPU was available" in ask()
        assert gpus.pop()["token"] == owner and not gpus
