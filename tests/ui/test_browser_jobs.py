"""Work that is the visitor's, in a real Chromium: text while it is read, found again, stopped with its text, listed."""

from __future__ import annotations

import contextlib
import subprocess
import threading
from pathlib import Path

import pytest
from browser import BOTH, MARKS, PATIENCE_MS, choose, download, playwright, speak, text_of, visit
from paths import DATA
from running_app import running_app
from speech import long_talk, not_short

from shared.audio import ffmpeg_executable
from shared.ui import RESULTS
from shared.ui.server import jobs, visitors

pytestmark = MARKS


@pytest.fixture(scope="module")
def app():
    return running_app()


@pytest.fixture(scope="module")
def long_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("long") / "long talk.wav"
    long_talk(path)
    return path


def partial(page):
    return page.locator("#upload-work .partial p")


@pytest.mark.parametrize("screen", BOTH)
def test_running_work_is_found_again_and_stop_keeps_its_text(app, long_file, screen, browsers):
    with visit(browsers(), f"{app.address}/files", screen) as page:
        choose(page, long_file)
        speak(page, "Italian")
        page.locator("#upload-go").click()
        page.locator("#upload-stop").wait_for()
        partial(page).first.wait_for(timeout=PATIENCE_MS)
        assert not page.locator("#upload-result .facts").is_visible(), "the text comes before the result"
        page.reload()
        partial(page).first.wait_for(timeout=PATIENCE_MS)
        page.goto(f"{app.address}/compare")
        page.locator("h1").wait_for()
        page.go_back()
        partial(page).first.wait_for(timeout=PATIENCE_MS)
        bar = page.locator("#upload-work [role=progressbar]")
        assert 0 < int(bar.get_attribute("aria-valuenow")) < 100
        page.locator("#upload-stop").click()
        assert "casella" in text_of(page, "upload")
        page.locator("#upload-result .notice").filter(has_text="Stopped at").filter(has_text="of 3:").wait_for()
        assert "casella" in download(page, "upload", ".srt")
        page.reload()  # the result is found again as well
        assert "casella" in text_of(page, "upload")


def test_results_of_the_hour_are_opened_and_deleted(app, browsers):
    with visit(browsers(), f"{app.address}/files", "phone") as page:
        page.get_by_text("English: Jane Austen").click()
        text_of(page, "upload")
        page.goto(f"{app.address}/microphone")
        page.locator("h1").wait_for()
        recent = page.locator("#microphone-recent")
        recent.locator("summary").click()
        recent.get_by_role("button", name="Open en_austen-0890").click()
        assert "ill-disposed" in text_of(page, "microphone").lower()
        folder = RESULTS / page.locator("#microphone-result .result-body").get_attribute("data-result")
        assert folder.exists()
        recent.get_by_role("button", name="Delete en_austen-0890").click()
        page.locator("#microphone-result .empty").wait_for()
        assert not folder.exists() and recent.locator("li").count() == 0


def test_lines_are_changed_where_they_stand(app, browsers):
    with visit(browsers(), f"{app.address}/files") as page:
        page.get_by_text("English: Jane Austen").click()
        text_of(page, "upload")
        line = page.locator("#upload-result .said").first
        line.click()
        page.keyboard.press("ControlOrMeta+A")
        page.keyboard.type("Nobody wrote <b>this</b> line")
        page.locator("#upload-result .find").click()  # leaving a line saves it
        saved = page.locator("#upload-result [data-note]").filter(has_text="Saved")
        saved.wait_for()
        assert download(page, "upload", ".txt").strip() == "Nobody wrote <b>this</b> line"
        line.focus()
        page.keyboard.press("Home")
        page.keyboard.press("ControlOrMeta+ArrowRight")
        page.keyboard.press("Enter")
        page.locator("#upload-result .segment").nth(1).wait_for()
        assert page.locator("#upload-result .said").all_text_contents() == ["Nobody", "wrote <b>this</b> line"]
        page.wait_for_function("document.activeElement.textContent.startsWith('wrote')")
        page.keyboard.press("Home")
        page.keyboard.press("Backspace")  # joined again
        page.locator("#upload-result .segment").nth(1).wait_for(state="detached")
        for _ in range(2):
            page.get_by_role("button", name="Undo").click()
        saved.wait_for()
        page.locator("#upload-result .segment").nth(1).wait_for(state="detached")
        page.locator("#upload-result .find").fill("WROTE")
        page.locator("#upload-result [data-found]").filter(has_text="1 line").wait_for()
        page.reload()
        assert text_of(page, "upload") == "Nobody wrote <b>this</b> line"
        page.get_by_role("button", name="Undo").click()
        page.locator("#upload-result .said").filter(has_text="ill-disposed").wait_for()
        page.locator("#upload-result .said").first.click()
        page.keyboard.type("not saved")
        with page.expect_event("dialog") as asked:  # whether to leave a page with a text that is not saved
            page.close(run_before_unload=True)
        asked.value.dismiss()


def test_speakers_are_named_by_a_click_and_words_have_times(app, tmp_path, browsers):
    two = tmp_path / "two.wav"
    subprocess.run([ffmpeg_executable(), "-v", "error", "-i", str(DATA / "it_vm-mailboxfull.flac"), "-i",
                    str(DATA / "en_austen-0890.ogg"), "-filter_complex",
                    "[0]aresample=16000[a];[1]aresample=16000[b];[a][b]concat=n=2:v=0:a=1", str(two)], check=True)
    with visit(browsers(), f"{app.address}/files", "phone") as page:
        choose(page, two)
        page.get_by_label("Speakers").first.click()
        page.get_by_role("option", name="2", exact=False).first.click()
        page.locator("#upload-go").click()
        text_of(page, "upload")
        first = page.locator("#upload-result [data-name='Speaker 1']").first
        first.click()
        page.locator(".naming input").fill("Ada & Bo")
        page.keyboard.press("Enter")
        page.locator("#upload-result [data-name='Ada & Bo']").first.wait_for()
        assert page.locator("#upload-result [data-name='Speaker 1']").count() == 0
        assert "Ada & Bo: " in download(page, "upload", ".srt")
        page.locator("#upload-result [data-name='Speaker 2']").first.click()
        page.get_by_role("button", name="Is Ada & Bo").click()
        page.locator("#upload-result [data-name='Speaker 2']").first.wait_for(state="detached")
        page.get_by_role("button", name="Word times").click()
        page.locator("#upload-result .timed").first.wait_for()
        assert "0:00." in page.locator("#upload-result .timed").first.get_attribute("data-at")


def test_a_comparison_is_found_again_and_listed(app, browsers, tmp_path, monkeypatch):
    """While it is worked on, and after: reload, another page, the list; with the clip and its text in their fields."""
    gate, before = threading.Event(), set(app.received())
    waits = jobs.submit(jobs.Asker("other", "10.0.0.9"), lambda running: gate.wait(120))  # so that it takes a while
    clip = tmp_path / "mailbox.wav"
    not_short(clip, DATA / "it_vm-mailboxfull.flac")
    reference = "Spiacente, ma la casella di posta dell'utente non può accettare ulteriori messaggi."
    verdict = "#compare-result .verdict"
    with visit(browsers(), f"{app.address}/compare") as page:
        page.locator("#compare-clip input[type=file]").set_input_files(clip)
        page.locator("#compare-reference textarea").fill(reference)
        page.locator("#compare-go").click()
        waiting = page.locator("#compare-work").get_by_text("waiting for 1 before you")
        waiting.wait_for()
        for leave in (page.reload, lambda: page.goto(f"{app.address}/files"), page.go_back):
            leave()
            page.locator("h1").wait_for()
            if "/compare" in page.url:
                waiting.wait_for()
        gate.set()
        page.locator(verdict).wait_for(timeout=PATIENCE_MS)
        found = page.locator("#compare-result .scoreboard").inner_text()
        page.reload()
        page.locator(verdict).wait_for(timeout=PATIENCE_MS)
        assert page.locator("#compare-result .scoreboard").inner_text() == found
        playwright.expect(page.locator("#compare-reference textarea")).to_have_value(reference)
        page.locator("#compare-go:not([disabled])").wait_for()  # the clip is there
        page.goto(f"{app.address}/files")
        page.locator("#upload-recent summary").click()
        page.locator("#upload-recent li").filter(has_text="too short to tell").wait_for()
        page.get_by_role("button", name="Open mailbox").click()
        page.wait_for_url("**/compare")
        page.locator(verdict).wait_for(timeout=PATIENCE_MS)
        page.locator("#compare-recent summary").click()
        page.get_by_role("button", name="Delete mailbox").click()
        page.locator("#compare-result .empty").wait_for()
        page.reload()
        page.locator("#compare-result .empty").wait_for()
        monkeypatch.setattr(visitors, "LEFT_SECONDS", 1.0)
    assert waits.outcome() and app.keeps_only(before)


@contextlib.contextmanager
def held(page, pattern: str):
    """While the block runs, requests to such addresses wait; afterwards they are sent."""
    waiting: list = []
    is_over = False
    page.route(pattern, lambda route: route.continue_() if is_over else waiting.append(route))
    yield waiting
    is_over = True
    for one in waiting:
        one.continue_()


def test_the_text_of_a_clip_may_be_typed_while_the_clip_arrives(app, browsers):
    with visit(browsers(), f"{app.address}/compare") as page:
        field, clip = page.locator("#compare-reference textarea"), page.locator("#compare-clip")
        for text in ("typed meanwhile", "and once more"):
            with held(page, "**/upload*") as uploads:
                clip.locator("input[type=file]").set_input_files(DATA / "it_vm-mailboxfull.flac")
                while not uploads:
                    page.wait_for_timeout(50)
                field.fill(text)
            page.locator("#compare-go:not([disabled])").wait_for()
            page.get_by_role("tab", name="A test set").click()
            page.locator("#compare-set-go").wait_for()  # the server has answered once more
            page.get_by_role("tab", name="One clip").click()
            playwright.expect(field).to_have_value(text)
            clip.get_by_role("button", name="Clear").click()
            playwright.expect(field).to_have_value("")  # it was the text of that clip
            page.locator("#compare-go:disabled").wait_for()


def test_what_is_chosen_while_a_page_opens_stays(app, browsers):
    """What the browser kept of earlier choices fills only what nobody has touched yet."""
    with visit(browsers(), f"{app.address}/files") as page:
        before = page.evaluate("localStorage['whisper-spaces-choices']")
        page.get_by_label("Task").first.click()
        page.get_by_role("option", name="Translate").click()
        page.wait_for_function("before => localStorage['whisper-spaces-choices'] !== before", arg=before)
        with held(page, "**/gradio_api/run/**"):
            page.reload()
            page.locator("h1").wait_for()
            speak(page, "Swedish")
        page.wait_for_function("document.querySelector('[aria-label=Task]').value === 'Translate to English'")
        assert page.get_by_label("Spoken language").first.input_value() == "Swedish"


def test_a_stopped_comparison_gives_its_place_back(app, browsers, tmp_path):
    not_short(tmp_path / "mailbox.wav", DATA / "it_vm-mailboxfull.flac")
    with visit(browsers(), f"{app.address}/compare", "phone") as page:
        gate = threading.Event()
        jobs.submit(jobs.Asker("other", "10.0.0.9"), lambda running: gate.wait(120))
        page.locator("#compare-clip input[type=file]").set_input_files(tmp_path / "mailbox.wav")
        page.locator("#compare-go").click()
        page.locator("#compare-work").get_by_text("waiting for 1 before you").wait_for()
        page.locator("#compare-stop").click()
        page.locator(".toast-body").filter(has_text="Stopped").wait_for()
        page.locator("#compare-stop").wait_for(state="hidden")
        assert len(jobs._active) == 1
        gate.set()
