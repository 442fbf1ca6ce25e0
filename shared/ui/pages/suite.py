"""The suite: a front page and the four pages as one app, with one model in memory and one queue."""

from __future__ import annotations

from functools import partial

from shared.ui.pages import compare, home, microphone, upload, youtube
from shared.ui.server.launch import Page

NAME = "Whisper Spaces"
PAGES = (
    Page(NAME, "", home.page),
    Page("Microphone", "microphone", microphone.page),
    Page("Files", "files", upload.page),
    Page("Links", "links", youtube.page),
    Page("Compare", "compare", compare.page),
)


def pages_with(*others: Page) -> tuple[Page, ...]:
    """The suite's pages and these, which get a card on the front page too."""
    return (Page(NAME, "", partial(home.page, others=others)), *PAGES[1:], *others)
