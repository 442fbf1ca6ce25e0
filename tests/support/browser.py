"""A real Chromium that visits the running app, and what the tests do in its pages."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

playwright = pytest.importorskip(
    "playwright.sync_api", reason="SKIPPED: playwright is not installed; pip install -e '.[test]'")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chromium-browser"))), None)
MARKS = [pytest.mark.browser,
         pytest.mark.skipif(CHROMIUM is None, reason="SKIPPED: no Chromium on the PATH; see `make browser`")]

SCREENS = {"desktop": {"width": 1280, "height": 800}, "phone": {"width": 390, "height": 844}}
BOTH = ["desktop", pytest.param("phone", marks=pytest.mark.slow)]  # for what takes long and looks the same on either
PATIENCE_MS = 180_000  # for a transcript, on a machine that may be busy
# Chromium's gain control changes the clip; a person's microphone is not a file.
RAW_SOUND = """const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
navigator.mediaDevices.getUserMedia = () => real({audio: {echoCancellation: false, noiseSuppression: false,
autoGainControl: false}});"""


def launched(driver, speech: Path | None = None):
    """A browser, with `speech` at its microphone; without, there is no microphone it may use."""
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
             "--disable-sync", "--autoplay-policy=no-user-gesture-required"]
    if speech is not None:
        flags += ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
                  f"--use-file-for-fake-audio-capture={speech}%noloop"]
    return driver.chromium.launch(executable_path=CHROMIUM, args=flags)


@contextmanager
def chromium(speech: Path | None = None):
    """A browser of its own; tests share one by the fixture `browsers`."""
    with playwright.sync_playwright() as driver:
        browser = launched(driver, speech)
        yield browser
        browser.close()


@contextmanager
def visit(browser, address: str, screen: str = "desktop", expected: str = "none", scheme: str = "light") -> Iterator:
    """A visitor's page. Afterwards: no script failed, nothing was asked of another host, nothing scrolls sideways.

    expected: what a failure that is part of the test says. scheme: the theme that the visitor's system asks for.
    """
    context = browser.new_context(viewport=SCREENS[screen], accept_downloads=True, color_scheme=scheme)
    context.set_default_timeout(60_000)
    page = context.new_page()
    page.add_init_script(RAW_SOUND)
    failures, strangers = [], []
    page.on("pageerror", lambda error: None if expected in str(error) else failures.append(str(error)))
    page.on("request", lambda request: None if request.url.startswith(("http://127.0.0.1", "data:", "blob:"))
            else strangers.append(request.url))
    page.goto(address)
    page.locator("h1").wait_for()
    yield page
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "the page scrolls sideways"
    assert not failures and not strangers
    context.close()


def record(page, seconds: float) -> None:
    """Press Record, wait, press Stop."""
    page.get_by_role("button", name="Record", exact=True).click()
    page.wait_for_timeout(int(seconds * 1000))
    page.locator("#microphone-recording").get_by_role("button", name="Stop", exact=True).click()


def choose(page, *paths: Path) -> None:
    """Hand files to the upload page, as its file chooser does, and wait until they have arrived."""
    page.locator("#upload-files input[type=file]").set_input_files(paths)
    for path in paths:
        page.locator(f"#upload-files [aria-label='{path.name}']").wait_for()


def speak(page, language: str) -> None:
    """Choose the spoken language by its English name."""
    page.get_by_label("Spoken language").first.click()
    page.get_by_role("option", name=language).click()


def text_of(page, name: str) -> str:
    page.locator(f"#{name}-result .facts").wait_for(timeout=PATIENCE_MS)
    return " ".join(page.locator(f"#{name}-result .said").all_text_contents())


def download(page, name: str, ending: str) -> str:
    with page.expect_download() as waiting:
        page.locator(f"#{name}-downloads a[download$='{ending}']").click()
    return Path(waiting.value.path()).read_text(encoding="utf-8")
