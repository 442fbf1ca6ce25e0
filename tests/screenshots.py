"""Pictures of every page for the README: `python tests/screenshots.py` writes docs/images/<page>-<screen>.png."""

from __future__ import annotations

import sys
from pathlib import Path

from running_app import running_app
from test_browser import SCREENS, chromium, text_of, visit

IMAGES = Path(__file__).parent.parent / "docs" / "images"


def microphone(page) -> None:
    page.get_by_text("Italian: a greeting").click()
    text_of(page, "microphone")


def upload(page) -> None:
    page.get_by_text("Italian: a full mailbox").click()
    text_of(page, "upload")


def as_it_opens(page) -> None:
    page.wait_for_timeout(500)


PAGES = {"microphone": ("/", microphone), "upload": ("/files", upload), "youtube": ("/videos", as_it_opens),
         "compare": ("/compare", as_it_opens)}


def main(wanted: list[str]) -> None:
    """wanted: names of pages, all if empty."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    app = running_app()
    with chromium() as browser:
        for name, (path, prepare) in PAGES.items():
            for screen in SCREENS if not wanted or name in wanted else ():
                with visit(browser, f"{app.address}{path}", screen) as page:
                    prepare(page)
                    page.wait_for_timeout(500)
                    page.screenshot(path=IMAGES / f"{name}-{screen}.png", full_page=True)


if __name__ == "__main__":
    main(sys.argv[1:])
