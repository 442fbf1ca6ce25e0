"""How many may listen live at once, and how many of one visitor."""

from __future__ import annotations

import threading
import time

import gradio as gr
import pytest
from starlette.requests import Request as NetworkRequest

from shared.errors import UserError
from shared.options import Options
from shared.serving import Serving
from shared.ui.server import live_sessions


def request_from(address: str, session: str) -> gr.Request:
    scope = {"type": "http", "method": "POST", "path": "/", "headers": [], "query_string": b"", "client": (address, 1)}
    return gr.Request(NetworkRequest(scope), session_hash=session)


def test_one_visitor_does_not_fill_the_live_places():
    serving = Serving("embedded:whisper-base", "embedded:whisper-base")
    sessions = live_sessions.LiveSessions()
    first = request_from("10.0.0.1", "page 1")
    tickets = [sessions.begin(serving, Options(language="en"), "auto", first) for _ in range(2)]
    with pytest.raises(UserError, match="use live text already"):
        sessions.begin(serving, Options(language="en"), "auto", request_from("10.0.0.1", "page 2"))
    for address in ("10.0.0.2", "10.0.0.3"):
        tickets.append(sessions.begin(serving, Options(language="en"), "auto", request_from(address, address)))
    with pytest.raises(UserError, match="Too many people"):
        sessions.begin(serving, Options(language="en"), "auto", request_from("10.0.0.4", "page"))
    paths = [sessions.get(ticket).sound.path for ticket in tickets]
    sessions.drop_all_of("page 1")
    assert len(sessions) == 2 and [path.exists() for path in paths] == [False, False, True, True]
    for ticket in tickets:
        sessions.drop(ticket)
    assert len(sessions) == 0 and not any(path.exists() for path in paths)


def test_a_live_place_is_taken_while_its_checkpoint_is_loaded_but_nobody_waits_for_it():
    serving = Serving("embedded:whisper-base", "embedded:whisper-base")
    sessions = live_sessions.LiveSessions()
    loading = threading.Event()

    def slow(checkpoint, engine):
        loading.set()
        time.sleep(2)
        raise UserError("It cannot be had")

    serving._build = slow
    other = "torch" if serving.base.engine.name == "ctranslate2" else "ctranslate2"
    serving._loaded = type(serving._loaded)()

    def ask() -> None:
        with pytest.raises(UserError, match="cannot be had"):
            sessions.begin(serving, Options(language="en"), other, request_from("10.0.0.1", "one"))

    asking = threading.Thread(target=ask)
    asking.start()
    loading.wait(10)
    ticket = sessions.begin(serving, Options(language="en"), "auto", request_from("10.0.0.2", "two"))
    assert asking.is_alive() and len(sessions) == 2
    sessions.drop(ticket)
    asking.join()
    assert len(sessions) == 0
