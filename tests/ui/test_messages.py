"""Messages: no markup comes onto a page, no path of this machine is shown, a program gets the words as they are."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
import pytest
from gradio.context import LocalContext
from starlette.requests import Request as NetworkRequest

from shared.errors import UserError
from shared.system.cache import cache_folder
from shared.ui import RESULTS, UPLOADS
from shared.ui.server import messages

MARKUP = '<img src="http://evil.test/a.png" onerror="window.PWN=1"><script>window.PWN=1</script>'


def test_messages_hold_no_markup_and_no_paths():
    shown = messages.error(UserError("Bad <b>", got=f"{MARKUP} in {UPLOADS}/abc/My talk.mp3", hint="a & b"))
    assert "<" not in shown.message and "<" not in shown.title and "&lt;img" in shown.message
    assert str(UPLOADS.parent) not in shown.message and "My talk.mp3" in shown.message


@pytest.mark.parametrize("folder", [UPLOADS / "x1", RESULTS, Path("/tmp"), cache_folder(), Path.home() / "models",
                                    Path(__file__).parents[2] / "shared"])
def test_paths_are_cut_to_their_last_part(folder):
    assert messages.without_paths(f"Got: {folder}/clip.wav (damaged), 3 MB") == "Got: clip.wav (damaged), 3 MB"
    assert messages.without_paths(f"'{folder}/a b.mp3': no") == "'a b.mp3': no"


def test_what_is_no_path_of_this_machine_stays():
    for text in ("https://example.org/a/b.mp3", "owner/name@abc", "12/24 words", "a/b", "…/x"):
        assert messages.without_paths(text) == text


@pytest.mark.parametrize(("asked_by", "quoted"), [("app", "&lt;img"), ("api", "<img"), (None, "<img")])
def test_a_program_gets_a_message_as_it_is(asked_by, quoted):
    """Only what goes onto a page is escaped: JSON clients saw "&lt;"."""
    headers = [(b"x-gradio-user", asked_by.encode())] if asked_by else []
    request = gr.Request(NetworkRequest({"type": "http", "headers": headers}))
    before = LocalContext.request.set(request)
    try:
        assert quoted in messages.error(UserError("There is no such link", got=MARKUP)).message
    finally:
        LocalContext.request.reset(before)
