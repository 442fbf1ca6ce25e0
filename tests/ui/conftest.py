"""One browser for all tests of a file: starting one takes seconds."""

from __future__ import annotations

import contextlib
import functools

import pytest

from shared.system.files import files_below


@pytest.fixture(autouse=True)
def only_of_this_test():
    """What the tests before left under UPLOADS is not this one's."""
    import running_app

    running_app.there_before = {path for path, _ in files_below(running_app.UPLOADS)}


@pytest.fixture(scope="module")
def browsers():
    """`browsers()` is a Chromium without a microphone, the same for the whole file; `browsers(speech)` is a new one
    with `speech` at its microphone.
    """
    from browser import launched, playwright  # skips where Playwright is not installed

    with playwright.sync_playwright() as driver, contextlib.ExitStack() as open_ones:
        def start(speech):
            chromium = launched(driver, speech)
            open_ones.callback(chromium.close)
            return chromium

        without = functools.cache(lambda: start(None))
        yield lambda speech=None: without() if speech is None else start(speech)
