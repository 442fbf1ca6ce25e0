"""The front page of the suite as a visitor gets it: what it leads to beside its own pages."""

from __future__ import annotations

import gradio as gr
import pytest

from shared.errors import UserError
from shared.serving import Serving
from shared.ui.pages import home

SPACE = "https://huggingface.co/spaces/you/whisper-browser"


def front_page() -> str:
    with gr.Blocks() as demo:
        home.page(Serving("embedded:whisper-base", "embedded:whisper-base-it"))
    return "".join(block.value or "" for block in demo.blocks.values() if isinstance(block, gr.HTML))


@pytest.mark.parametrize(("named", "address"), [
    ("you/whisper-browser", SPACE), (" you/whisper-browser ", SPACE), ("http://127.0.0.1:8000/", "http://127.0.0.1:8000/"),
    ('https://example.org/?a="b&c', "https://example.org/?a=&quot;b&amp;c")])
def test_the_page_without_a_server_is_offered(monkeypatch, named, address):
    monkeypatch.setenv("BROWSER_PAGE", named)
    page = front_page()
    assert f'href="{address}" target="_blank" rel="noopener"' in page and "<h2>Without a server</h2>" in page
    assert "make deploy" not in page


def test_without_one_only_an_owner_reads_how_it_is_made(monkeypatch):
    monkeypatch.delenv("BROWSER_PAGE", raising=False)
    assert "make deploy APPS=browser" in front_page() and "<h2>Without a server</h2>" not in front_page()
    monkeypatch.setenv("SPACE_ID", "you/whisper-suite")
    assert "make deploy" not in front_page()


@pytest.mark.parametrize("named", ["whisper-browser", "javascript:alert(1)", "a/b/c", "https://two words.org", "file:///x"])
def test_what_is_no_page_is_refused(named):
    with pytest.raises(UserError, match="BROWSER_PAGE names no page"):
        home.browser_page({"BROWSER_PAGE": named})
