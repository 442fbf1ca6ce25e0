"""The suite: the four pages as pages of one app, with one model in memory and one queue."""

from __future__ import annotations

from shared.ui.pages import compare, microphone, upload, youtube
from shared.ui.server.launch import Page

PAGES = (
    Page("Microphone", "microphone", microphone.page),
    Page("Files", "files", upload.page),
    Page("Videos", "videos", youtube.page),
    Page("Compare", "compare", compare.page),
)
