"""The pages as people use them: a real Chromium, real speech, at desk and in hand.

UI tests of the other pages are in files of their own.
"""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path

import pytest
from browser import BOTH, MARKS, PATIENCE_MS, SCREENS, choose, download, record, speak, text_of, visit
from paths import DATA
from running_app import running_app
from speech import long_talk

from shared.audio import ffmpeg_executable, probe
from shared.ui.server import visitors
from shared.wer import word_errors

pytestmark = MARKS

MAILBOX = "Spiacente, ma la casella di posta dell'utente non può accettare ulteriori messaggi."
GREETING = "C'è un saluto temporaneo, che viene usato al posto del tuo messaggio di benvenuto standard."


@pytest.fixture(scope="module")
def app():
    return running_app()


@pytest.fixture(scope="module")
def speech(tmp_path_factory) -> Path:
    """The mailbox prompt as a WAV for the fake microphone, with half a second of silence around it."""
    path = tmp_path_factory.mktemp("speech") / "clip.wav"
    subprocess.run([ffmpeg_executable(), "-v", "error", "-i", str(DATA / "it_vm-mailboxfull.flac"), "-af",
                    "adelay=500,apad=pad_dur=2", "-ar", "48000", str(path)], check=True)
    return path


@pytest.mark.parametrize("screen", BOTH)
def test_microphone(app, speech, screen, browsers):
    with visit(browsers(speech), f"{app.address}/microphone", screen) as page:
        record(page, probe(speech).duration - 1.0)
        assert word_errors(MAILBOX, text_of(page, "microphone"), "it").wer <= 0.3
        assert "-->" in download(page, "microphone", ".srt")
        page.locator("#microphone-result .time").first.click()
        player = "document.querySelector('#microphone-result .player')"
        page.wait_for_function(f"{player}.currentTime > 0.3")
        page.wait_for_function("document.querySelector('#microphone-result .segment.now') !== null")
        page.wait_for_function("document.querySelector('#microphone-result .caption').innerText.length > 10")
        page.locator("#microphone-go").click()  # the same recording, without recording it again
        page.locator("#microphone-result .facts").wait_for(state="detached")
        assert word_errors(MAILBOX, text_of(page, "microphone"), "it").wer <= 0.3
        page.locator("#microphone-recording").get_by_role("button", name="Clear").click()
        page.get_by_role("button", name="Record", exact=True).wait_for()  # ready for the next one
        page.locator("#microphone-go:disabled").wait_for()
        page.get_by_text("Record something first").wait_for()


def test_without_a_microphone_the_page_says_so_and_goes_on(app, browsers):
    with visit(browsers(), f"{app.address}/microphone", expected="accessing the microphone") as page:
        page.get_by_role("button", name="Record", exact=True).click()
        page.get_by_text("No microphone found").first.wait_for(state="attached")
        page.get_by_text("English: Jane Austen").click()
        assert "ill-disposed" in text_of(page, "microphone").lower()


@pytest.mark.parametrize("screen", SCREENS)
def test_upload(app, screen, tmp_path, browsers):
    bad = tmp_path / "notes.mp3"
    bad.write_text("Nothing to hear here. " * 40)
    with visit(browsers(), f"{app.address}/files", screen) as page:
        choose(page, DATA / "it_vm-mailboxfull.flac", bad, DATA / "it_vm-tmpexists.flac")
        page.locator("#upload-go").click()
        assert word_errors(MAILBOX, text_of(page, "upload"), "it").wer <= 0.3
        assert "What to do" in page.locator("#upload-overview .failed").inner_text()
        page.locator("#upload-which input").click()
        page.get_by_role("option", name="it_vm-tmpexists").click()
        page.locator("#upload-result").filter(has_text="saluto").wait_for()
        assert word_errors(GREETING, text_of(page, "upload"), "it").wer <= 0.3
        with page.expect_download() as waiting:
            page.locator("#upload-zip").click()
        with zipfile.ZipFile(waiting.value.path()) as archive:
            assert "it_vm-mailboxfull.vtt" in archive.namelist() and len(archive.namelist()) == 12


def test_a_bad_file_alone_is_a_message(app, tmp_path, browsers):
    bad = tmp_path / "empty.wav"
    bad.write_bytes(b"")
    with visit(browsers(), f"{app.address}/files") as page:
        assert page.locator("#upload-go").is_disabled()
        page.get_by_text("Choose a file first").wait_for()
        choose(page, bad)
        page.locator("#upload-go").click()
        page.locator(".toast-body").filter(has_text="empty").wait_for(timeout=PATIENCE_MS)
        page.get_by_text("English: Jane Austen").click()
        assert "ill-disposed" in text_of(page, "upload").lower()


def test_two_visitors_at_once(app, browsers, monkeypatch):
    """Each sees their own text, and neither's work undoes the other's."""
    before = set(app.received())
    address = f"{app.address}/files"
    with visit(browsers(), address) as first, visit(browsers(), address, "phone") as second:
        for page, clip in ((first, "it_vm-mailboxfull.flac"), (second, "it_vm-tmpexists.flac")):
            choose(page, DATA / clip)
        for page in (first, second):
            page.locator("#upload-go").click()
        assert word_errors(MAILBOX, text_of(first, "upload"), "it").wer <= 0.3
        assert word_errors(GREETING, text_of(second, "upload"), "it").wer <= 0.3
        monkeypatch.setattr(visitors, "LEFT_SECONDS", 1.0)
    assert app.keeps_only(before)


CHOSEN = "(text) => [...document.querySelectorAll('input')].some((one) => one.value === text)"


def language_of(page) -> str:
    return page.get_by_label("Spoken language").first.input_value()


def test_nothing_is_asked_for_twice(app, browsers, tmp_path, monkeypatch):
    """Files and choices stay after success and errors, over pages and reloads; cleared files are deleted."""
    before = set(app.received())
    bad = tmp_path / "notes.mp3"
    bad.write_text("No sound in here. " * 40)
    with visit(browsers(), f"{app.address}/files") as page:
        choose(page, DATA / "it_vm-mailboxfull.flac")
        speak(page, "Italian")
        page.locator("#upload-go").click()
        first = text_of(page, "upload")
        page.get_by_label("Task").first.click()
        page.get_by_role("option", name="Translate").click()
        page.locator("#upload-go").click()
        page.locator("#upload-result .facts").wait_for(state="detached")  # the former result is gone at once
        assert text_of(page, "upload") != first
        assert len(set(app.received()) - before) == 1
        page.locator("#upload-files").get_by_role("button", name="Clear").click()
        assert app.keeps_only(before)
        choose(page, bad)
        page.locator("#upload-go").click()
        page.locator(".toast-body").filter(has_text="not").first.wait_for(timeout=PATIENCE_MS)
        assert page.locator("#upload-result .facts").count() == 0, "no result stands under an error"
        assert not page.locator("#upload-downloads").is_visible()
        page.locator("#upload-files [aria-label='notes.mp3']").wait_for()
        page.reload()
        page.locator("#upload-files [aria-label='notes.mp3']").wait_for()
        page.wait_for_function(CHOSEN, arg="Italian")
        page.goto(f"{app.address}/compare")
        page.wait_for_function(CHOSEN, arg="Italian")
        page.goto(f"{app.address}/files")
        page.wait_for_function(CHOSEN, arg="Translate to English")
        assert language_of(page) == "Italian"
        page.locator("#upload-files [aria-label='notes.mp3']").wait_for()
        page.locator("#upload-files").get_by_role("button", name="Clear").click()
        assert app.keeps_only(before)
        page.reload()
        page.get_by_text("Choose a file first").wait_for()
        choose(page, DATA / "it_vm-mailboxfull.flac")
        page.locator("#upload-go").click()
        again = text_of(page, "upload")
        page.reload()  # the text and its file come back: another task needs no other upload
        assert text_of(page, "upload") == again
        page.locator("#upload-files [aria-label='it_vm-mailboxfull.flac']").wait_for()
        page.get_by_label("Task").first.click()
        page.get_by_role("option", name="Transcribe").first.click()
        page.locator("#upload-go").click()
        page.locator("#upload-result .facts").wait_for(state="detached")
        assert word_errors(MAILBOX, text_of(page, "upload"), "it").wer <= 0.3
        assert len(set(app.received()) - before) == 1
        monkeypatch.setattr(visitors, "LEFT_SECONDS", 1.0)
    assert app.keeps_only(before)


@pytest.fixture
def long_file(tmp_path) -> Path:
    long_talk(tmp_path / "long.wav")
    return tmp_path / "long.wav"


@pytest.mark.slow
def test_stop_in_the_page(app, long_file, browsers):
    with visit(browsers(), f"{app.address}/files") as page:
        choose(page, long_file)
        speak(page, "Italian")
        page.locator("#upload-go").click()
        page.get_by_text("passage").first.wait_for(timeout=PATIENCE_MS)
        page.locator("#upload-stop").click()
        page.locator("#upload-stop").wait_for(state="hidden", timeout=PATIENCE_MS)
        page.locator("#upload-go").click()  # the file is still there
        page.get_by_text("passage").first.wait_for(timeout=PATIENCE_MS)
        page.locator("#upload-stop").click()
        page.locator("#upload-stop").wait_for(state="hidden")


@pytest.mark.slow
def test_who_has_left_ends_their_work_after_a_while(app, long_file, browsers, monkeypatch):
    monkeypatch.setattr(visitors, "LEFT_SECONDS", 3.0)
    before = set(app.received())
    browser = browsers()
    with visit(browser, f"{app.address}/files") as page:
        choose(page, long_file)
        page.locator("#upload-go").click()
        page.get_by_text("passage").first.wait_for(timeout=PATIENCE_MS)
        assert set(app.received()) - before
    with visit(browser, f"{app.address}/files") as page:  # another visitor: the queue is free again
        page.get_by_text("English: Jane Austen").click()
        assert "ill-disposed" in text_of(page, "upload").lower()
    assert app.keeps_only(before)
