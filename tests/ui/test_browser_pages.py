"""Links and comparison as people use them: a real Chromium, real speech, a real video on loopback."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import re
import zipfile
from pathlib import Path

import pytest
from browser import BOTH, CHROMIUM, PATIENCE_MS, SCREENS, download, playwright, text_of, visit
from media_server import serves, video_of
from running_app import running_app
from speech import clips

from shared.wer import word_errors

pytestmark = [pytest.mark.browser,
              pytest.mark.skipif(CHROMIUM is None, reason="SKIPPED: no Chromium; `make browser` installs one")]

SCROLLING = """[...document.querySelectorAll('#compare-result *')].filter((one) =>
    one.scrollHeight > one.clientHeight + 2 && ['auto', 'scroll'].includes(getComputedStyle(one).overflowY))
    .map((one) => one.className)"""
GONE = '<img src=evil.test onerror="window.PWN=1">gone.wav'
MAILBOX, AUSTEN = clips("it")[1], clips("en")[1]


@pytest.fixture(scope="module")
def app() -> str:
    return running_app().address


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    folder = tmp_path_factory.mktemp("media")
    video_of(AUSTEN.path, folder / "talk.mp4")
    with serves(folder) as address, pytest.MonkeyPatch.context() as patch:
        patch.setenv("LINK_ALLOW_LOOPBACK", "1")
        patch.setenv("ALLOWED_HOSTS", address.removeprefix("http://"))
        yield f"{address}/talk.mp4"


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("set") / "set.zip"
    table = io.StringIO()
    rows = [(clip.path.name, clip.text) for clip in clips("it")]
    csv.writer(table).writerows([("file", "text"), *rows, (GONE, "x")])
    with zipfile.ZipFile(path, "w") as zipped:
        zipped.writestr("texts.csv", table.getvalue())
        for clip in clips("it"):
            zipped.write(clip.path, clip.path.name)
    return path


def look_up(page, link: str) -> None:
    page.locator("#youtube-link").locator("textarea, input").first.fill(link)
    page.locator("#youtube-look").click()


def toast(page, text: str):
    return page.locator(".toast-body").filter(has_text=text)


@pytest.mark.parametrize("screen", SCREENS)
def test_a_link(app, video, screen, browsers):
    with visit(browsers(), f"{app}/links", screen) as page:
        assert page.locator("#youtube-go").is_disabled()
        look_up(page, video)
        page.locator("#youtube-card").filter(has_text="talk.mp4").filter(has_text=re.compile(r"5\.[34] s")).wait_for()
        page.locator("#youtube-go").click()
        assert word_errors(AUSTEN.text, text_of(page, "youtube"), "en").wer <= 0.3
        assert "-->" in download(page, "youtube", ".vtt")
        page.locator("#youtube-start").locator("textarea, input").first.fill("0:03")
        page.locator("#youtube-go").click()
        part = page.locator("#youtube-result .facts").filter(has_text=re.compile(r"2\.[34] s of sound"))
        part.wait_for(timeout=PATIENCE_MS)
        begin = page.locator("#youtube-start").locator("textarea, input").first
        with page.expect_response(lambda answer: "queue/join" in answer.url):
            page.locator("#youtube-look").click()  # the same link again: what was chosen stays
        page.wait_for_timeout(2000)
        assert begin.input_value() == "0:03"
        page.locator("#youtube-link").locator("textarea, input").first.fill(video + "?another")
        page.wait_for_function("document.querySelector('#youtube-go').disabled")
        page.wait_for_function("(document.querySelector('#youtube-start :is(textarea, input)')?.value ?? '') === ''")


def test_a_refused_link_is_a_message_and_offers_a_file(app, video, browsers):
    with visit(browsers(), f"{app}/links", "phone") as page:
        look_up(page, "https://example.org/talk.mp4")
        toast(page, "Links to this host are not allowed here").wait_for()
        assert page.locator("#youtube-go").is_disabled()
        page.locator("#youtube-file input[type=file]").set_input_files(AUSTEN.path)  # the fold has opened by itself
        assert word_errors(AUSTEN.text, text_of(page, "youtube"), "en").wer <= 0.3
        look_up(page, video.replace("talk", "none"))
        toast(page, "404").wait_for()


@pytest.mark.parametrize("screen", SCREENS)
def test_one_clip(app, screen, browsers):
    with visit(browsers(), f"{app}/compare", screen) as page:
        page.get_by_text("Italian: a full mailbox").click()
        result = page.locator("#compare-result")
        result.locator(".verdict").filter(has_text="too short to tell").wait_for(timeout=PATIENCE_MS)
        for name in ("Base", "Fine-tuned"):
            side = result.locator(f"section[aria-label='{name}']")
            text = side.locator(".as-written").text_content()  # folded
            errors = word_errors(MAILBOX.text, text, "it")
            assert errors.wer <= 0.4
            assert side.locator(".sub").count() == errors.substitutions
            assert side.locator(".gone").count() == errors.deletions
        page.locator("#compare-clip input[type=file]").set_input_files(MAILBOX.path)
        page.locator("#compare-clip audio, #compare-clip .waveform-container").first.wait_for(state="attached")
        page.locator("#compare-go").click()
        result.locator(".between").filter(has_text="no error rate").wait_for(timeout=PATIENCE_MS)


@pytest.mark.parametrize("screen", BOTH)
def test_a_test_set(app, archive, screen, browsers):
    with visit(browsers(), f"{app}/compare", screen) as page:
        page.get_by_role("tab", name="A test set").click()
        page.get_by_text("Choose a zip, or name a data set").wait_for()
        assert page.locator("#compare-set-go").is_disabled()
        page.get_by_label("A data set on the Hub").check()
        page.locator("#compare-dataset").locator("textarea, input").first.fill(GONE)
        page.locator("#compare-set-go").click()
        toast(page, GONE).wait_for()
        assert page.locator(".toast-body img[src*=evil]").count() == 0
        page.get_by_label("A zip of clips").check()
        page.locator("#compare-stop").wait_for(state="hidden")
        page.wait_for_timeout(1000)  # the page puts its fields back after an error
        for _ in range(3):  # what was chosen before then is gone
            page.locator("#compare-zip input[type=file]").set_input_files(archive)
            with contextlib.suppress(playwright.TimeoutError):
                page.get_by_text("set.zip").first.wait_for(timeout=15_000)
                break
        page.locator("#compare-set-go").click()
        page.get_by_text("of 4 clips read").first.wait_for(timeout=PATIENCE_MS)
        result = page.locator("#compare-result")
        result.locator(".score-number").nth(1).wait_for(timeout=PATIENCE_MS)

        def order() -> list[int]:
            rows = [row.split() for row in result.locator(".clip-row .change").all_inner_texts()]
            return [0 if row[0] == "the" else int(row[0]) * (-1 if row[1] == "fewer" else 1) for row in rows]

        assert len(order()) == 4 and order() == sorted(order())
        result.get_by_role("button", name="Losses first").click()
        assert order() == sorted(order(), reverse=True)
        result.get_by_text("Plots").click()
        assert result.locator(".plots svg").count() == 3
        result.get_by_text("1 clip could not be scored").click()
        result.get_by_text(GONE).wait_for()  # as text: `visit` sees to it that nobody asks evil.test for a picture
        assert page.evaluate("window.PWN") is None
        result.locator(".clip-row summary").first.click()
        result.locator(".clip-row .diff").first.wait_for()
        player = result.locator(".clip-row audio").first
        player.evaluate("player => player.play()")
        page.wait_for_function("document.querySelector('.clip-row audio').currentTime > 0.2")
        assert player.evaluate("player => player.duration") > 3
        assert page.evaluate(SCROLLING) == [], "a box scrolls inside the page"
        assert json.loads(download(page, "compare", "summary.json"))["n_clips"] == 4
        rows = list(csv.DictReader(io.StringIO(download(page, "compare", "clips.csv").removeprefix("\ufeff"))))
        assert len(rows) == 9 and rows[-1]["clip"] == GONE


def test_two_visitors_at_once(app, video, browsers):
    with visit(browsers(), f"{app}/compare") as first, visit(browsers(), f"{app}/links", "phone") as second:
        first.get_by_text("English: Jane Austen").click()
        look_up(second, video)
        second.locator("#youtube-go").click()
        assert word_errors(AUSTEN.text, text_of(second, "youtube"), "en").wer <= 0.3
        first.locator("#compare-result .verdict").wait_for(timeout=PATIENCE_MS)
        first.locator("#compare-result .notice").filter(has_text="tuned for Italian, not for English").wait_for()
