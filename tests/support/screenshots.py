"""Pictures of every page for the README: `python tests/support/screenshots.py` writes docs/images/<page>-<screen>.png.

Names of pages may follow, to make those only. The texts in the pictures are what the models that come with the program
heard; nothing is put in by hand.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from browser import PATIENCE_MS, SCREENS, choose, chromium, text_of, visit
from media_server import serves, video_of
from paths import DATA, ROOT
from running_app import running_app

IMAGES = ROOT / "docs" / "images"


def home(page, link: str) -> None:
    page.locator("#home .score-number").first.wait_for()


def microphone(page, link: str) -> None:
    page.get_by_text("Italian: a greeting").click()
    text_of(page, "microphone")


def upload(page, link: str) -> None:
    choose(page, DATA / "it_vm-mailboxfull.flac", DATA / "en_austen-0890.ogg", DATA / "it_vm-nobodyavail.g722")
    page.locator("#upload-go").click()
    text_of(page, "upload")


def youtube(page, link: str) -> None:
    page.locator("#youtube-link").locator("textarea, input").first.fill(link)
    page.locator("#youtube-look").click()
    page.locator("#youtube-go").click()
    text_of(page, "youtube")


def compare(page, link: str) -> None:
    page.get_by_text("Italian: a greeting").click()
    page.locator("#compare-result .verdict").first.wait_for(timeout=PATIENCE_MS)


PAGES = {"home": ("/", home), "microphone": ("/microphone", microphone),
         "upload": ("/files", upload), "youtube": ("/links", youtube),
         "compare": ("/compare", compare)}


def main(wanted: list[str]) -> None:
    """wanted: names of pages, all if empty."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    app = running_app()
    with tempfile.TemporaryDirectory() as folder, serves(Path(folder)) as host, chromium() as browser:
        video_of(DATA / "en_austen-0890.ogg", Path(folder, "talk.mp4"))
        os.environ.update(LINK_ALLOW_LOOPBACK="1", ALLOWED_HOSTS=host.removeprefix("http://"))
        for name in wanted or PAGES:
            path, prepare = PAGES[name]
            for screen in SCREENS:
                with visit(browser, f"{app.address}{path}", screen) as page:
                    prepare(page, f"{host}/talk.mp4")
                    page.wait_for_timeout(500)
                    page.screenshot(path=IMAGES / f"{name}-{screen}.png", full_page=True)


if __name__ == "__main__":
    main(sys.argv[1:])
