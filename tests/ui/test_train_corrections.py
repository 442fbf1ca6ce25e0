"""A transcript that was corrected in the result panel becomes recordings of the page Train, in a real browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser import MARKS, playwright, text_of, visit

from shared.audio import probe
from shared.serving import Limits, Serving
from shared.ui.pages import home, upload
from shared.ui.server import uses
from shared.ui.server.launch import Page, build, start
from training.studio.page import Studio, render

pytestmark = MARKS


@pytest.fixture
def suite(tmp_path):
    served = Serving("embedded:whisper-base", "embedded:whisper-base-it", limits=Limits())
    pages = (Page("Whisper Spaces", "", home.page), Page("Files", "files", upload.page),
             Page("Train", "train", lambda serving: render(serving, Studio(tmp_path))))
    demo = build("Whisper Spaces", pages, served)
    yield start(demo, max_bytes=None, block=False).rstrip("/"), tmp_path
    uses.withdraw("train")
    demo.close()


def test_corrected_lines_are_recordings_of_the_page_train(suite, browsers):
    address, place = suite
    folder = Path(place, "recordings/studio-en")
    with visit(browsers(), f"{address}/files") as page:
        page.get_by_text("English: Jane Austen").click()
        text_of(page, "upload")
        note = page.locator("#upload-result [data-note]")
        for text in ("Unless to be cold hearted", "Unless to be rather cold-hearted"):  # used, corrected, used again
            line = page.locator("#upload-result .said").first
            line.click()
            page.keyboard.press("ControlOrMeta+A")
            page.keyboard.type(text)
            page.get_by_role("button", name="Use for training").click()
            note.filter(has_text="1 line is a recording of the page Train now, in English").wait_for()
            for _ in range(100):
                if (folder / "0001.txt").read_text() == f"{text}\n":
                    break
                page.wait_for_timeout(100)
        assert (folder / "sentences.txt").read_text() == "Unless to be rather cold-hearted\n"
        assert (folder / "0001.txt").read_text() == "Unless to be rather cold-hearted\n"
        assert probe(folder / "0001.wav").duration > 2
        note.get_by_role("link", name="Open Train").click()
        page.locator("#train-sentence").filter(has_text="Unless to be rather cold-hearted").wait_for()
        page.locator("#train-sentence").filter(has_text="Sentence 1 of 1: recorded").wait_for()
        playwright.expect(page.get_by_label("Spoken language").first).to_have_value("English")
