"""The app starts where the port that looked free is taken after all."""

from __future__ import annotations

import contextlib
import socket

import gradio as gr
import httpx
import pytest
from gradio import http_server
from tool_calls import NAMES, in_session

from shared.api import Settings
from shared.serving import Limits, Serving
from shared.ui.pages.suite import NAME, PAGES
from shared.ui.server.launch import build, start
from shared.ui.tools.programs import programs


# The thread of the start that failed ends with SystemExit: that is uvicorn's way.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_port_that_is_taken_at_the_last_moment(monkeypatch):
    """Gradio tries one port after another and enters the app's lifespan for each. The second time that failed, and so
    did all the others, 5 s each. It looks at 127.0.0.1 before it listens, here at all addresses.
    """
    served = Serving("embedded:whisper-base", "embedded:whisper-base-it", limits=Limits(60.0, 1_000_000))
    with contextlib.ExitStack() as held:
        taken, free = _two_ports(held)
        monkeypatch.setattr(http_server, "INITIAL_PORT_VALUE", taken)
        monkeypatch.setattr(http_server, "TRY_NUM_PORTS", 1 + free - taken)
        demo: gr.Blocks = build(NAME, PAGES, served)
        address = start(demo, max_bytes=1_000_000, server_name="0.0.0.0", block=False, api=programs(served, Settings()))
        held.callback(demo.close)
        address = address.rstrip("/").replace("0.0.0.0", "127.0.0.1").replace("localhost", "127.0.0.1")
        assert address == f"http://127.0.0.1:{free}"
        assert httpx.get(f"{address}/health").status_code == 200
        tools = in_session(address, lambda session: session.list_tools()).tools
        assert [tool.name for tool in tools] == NAMES


def _two_ports(held: contextlib.ExitStack) -> tuple[int, int]:
    """One that only 127.0.0.2 listens at, and the next above it that nobody does."""
    other = held.enter_context(socket.create_server(("127.0.0.2", 0)))
    taken = other.getsockname()[1]
    for port in range(taken + 1, taken + 20):
        with contextlib.suppress(OSError), socket.create_server(("0.0.0.0", port)):
            return taken, port
    raise AssertionError("no free port")
