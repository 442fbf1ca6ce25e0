"""The Live switch as people use it: a real Chromium with speech at its microphone."""

from __future__ import annotations

import subprocess
import wave
from pathlib import Path

import numpy as np
import pytest
from browser import CHROMIUM, PATIENCE_MS, download, text_of, visit
from running_app import running_app
from speech import clips, joined

from shared.audio import SAMPLE_RATE, ffmpeg_executable
from shared.audio.resampling import Resampler
from shared.ui.pages import microphone
from shared.ui.server import live_sessions as live
from shared.ui.server import visitors
from shared.wer import word_errors

in_browser = [pytest.mark.browser,
              pytest.mark.skipif(CHROMIUM is None, reason="SKIPPED: no Chromium on the PATH; see `make browser`")]
SPOKEN = clips("it")[:2]
REFERENCE = " ".join(clip.text for clip in SPOKEN)


def marked(test):
    for mark in in_browser:
        test = mark(test)
    return test


@pytest.fixture(scope="module")
def app():
    return running_app()


@pytest.fixture(scope="module")
def speech(tmp_path_factory) -> Path:
    """Two prompts for the fake microphone, a second of silence before them and a minute after."""
    samples = joined([clip.path for clip in SPOKEN], pause=0.9).samples
    quiet = np.zeros(SAMPLE_RATE, np.float32)
    folder = tmp_path_factory.mktemp("speech")
    with wave.open(str(folder / "16.wav"), "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
        file.writeframes((np.concatenate([quiet, samples, *[quiet] * 60]) * 32767).astype("<i2").tobytes())
    subprocess.run([ffmpeg_executable(), "-v", "error", "-i", str(folder / "16.wav"), "-ar", "48000",
                    str(folder / "48.wav")], check=True)
    return folder / "48.wav"


def start(page) -> None:
    page.get_by_label("Live").check()
    page.locator("#microphone-start").click()
    page.locator("[data-live=stop]").wait_for()


def committed(page) -> str:
    return page.locator("[data-live=committed]").text_content()


@marked
def test_text_arrives_while_recording(app, speech, browsers, monkeypatch):
    monkeypatch.setattr(microphone, "WHOLE_SECONDS", 0.0)  # the result is the text as it came
    before = set(app.received())
    with visit(browsers(speech), f"{app.address}/microphone") as page:
        start(page)
        page.wait_for_function("document.querySelector('[data-live=tentative]').textContent.length > 5")
        page.wait_for_function("document.querySelector('[data-live=committed]').textContent.includes('interlocut')",
                               timeout=PATIENCE_MS)
        early = committed(page)
        assert page.locator("[data-live=stop]").is_enabled(), "still recording"
        page.wait_for_function("document.querySelector('[data-live=committed]').textContent.includes('messaggi')",
                               timeout=PATIENCE_MS)
        assert committed(page).startswith(early), "committed text never changes"
        page.wait_for_function("document.querySelector('[data-live=clock]').textContent >= '0:13'",
                               timeout=PATIENCE_MS)
        shown = committed(page)
        page.locator("[data-live=stop]").click()
        final = text_of(page, "microphone")
        assert final.split()[: len(shown.split())] == shown.split(), "the result is what was shown, and the rest"
        assert word_errors(REFERENCE, final, "it").wer <= 0.25
        assert "-->" in download(page, "microphone", ".srt")
        assert not page.locator(".live").is_visible()
        seconds = page.evaluate("""async () => { const player = document.querySelector('#microphone-result .player');
            while (!(player.duration > 0)) await new Promise((done) => setTimeout(done, 100));
            return player.duration; }""")
        assert seconds > 12
        first = page.locator("#microphone-result .result-body").get_attribute("data-result")
        page.get_by_role("button", name="Read again in full").click()
        page.locator(f"#microphone-result .result-body:not([data-result='{first}'])").wait_for(timeout=PATIENCE_MS)
        assert word_errors(REFERENCE, text_of(page, "microphone"), "it").wer <= 0.25
        page.get_by_role("button", name="Record live").click()  # ready for the next one, with nothing of the last
        page.locator(".live").wait_for()
        assert committed(page) == ""
        page.wait_for_function("document.querySelector('[data-live=clock]').textContent > '0:00'")
        assert not page.locator("#microphone-downloads").is_visible()
        page.locator("[data-live=stop]").click()
        page.locator(".live").wait_for(state="hidden")
        monkeypatch.setattr(visitors, "LEFT_SECONDS", 1.0)
    assert app.keeps_only(before)


@marked
def test_stop_in_the_middle_of_a_word_loses_nothing_before_it(app, speech, browsers, monkeypatch):
    """On a phone, so that the live box and the result are looked at there too: it may not scroll sideways."""
    monkeypatch.setattr(microphone, "WHOLE_SECONDS", 1e9)  # all of it is read once more
    with visit(browsers(speech), f"{app.address}/microphone", "phone") as page:
        start(page)
        page.add_style_tag(content=".live-text { min-height: 0 !important; max-height: 1.6em !important; }")
        page.wait_for_function("document.querySelector('[data-live=tentative]').textContent.length > 5")
        page.wait_for_function("""(() => { const box = document.querySelector('.live-text');  // the newest is in sight
            return box.scrollHeight > box.clientHeight + 20
                && box.scrollTop + box.clientHeight >= box.scrollHeight - 2; })()""")
        assert page.locator("[data-live=stop]").is_enabled(), "still recording"
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        page.wait_for_function("document.querySelector('[data-live=clock]').textContent >= '0:04'",
                               timeout=PATIENCE_MS)
        page.locator("[data-live=stop]").click()
        assert "attenda cortesemente mentre" in text_of(page, "microphone").lower()
        assert "-->" in download(page, "microphone", ".srt")
        assert not page.locator(".live").is_visible()


@marked
def test_without_a_microphone_it_says_so_and_can_go_on(app, browsers):
    with visit(browsers(), f"{app.address}/microphone") as page:
        start(page)
        page.locator("[data-live=problem]").filter(has_text="No microphone").wait_for()
        page.locator("#microphone-start:enabled").wait_for()
        page.get_by_text("English: Jane Austen").click()
        page.locator("#microphone-result .facts").wait_for(state="attached", timeout=PATIENCE_MS)
        assert "ill-disposed" in page.locator("#microphone-result").text_content().lower()


@marked
def test_who_leaves_is_forgotten(app, speech, monkeypatch, browsers):
    monkeypatch.setattr(live, "GONE_SECONDS", 2.0)
    before = set(app.received())
    browser = browsers(speech)
    with visit(browser, f"{app.address}/microphone") as page:
        start(page)
        page.wait_for_function("document.querySelector('[data-live=clock]').textContent >= '0:02'")
        assert live.sessions and set(app.received()) - before
    with visit(browser, app.address) as page:
        for _ in range(100):
            if not live.sessions:
                break
            page.wait_for_timeout(200)
    assert not live.sessions and app.keeps_only(before)


@pytest.mark.parametrize("rate", [8000, 16_000, 22_050, 44_100, 48_000])
def test_any_rate_becomes_16_khz_piece_by_piece(rate):
    t = np.arange(2 * rate) / rate
    tones = np.sin(2 * np.pi * 440 * t) + 0.5 * np.sin(2 * np.pi * 3000 * t)
    sound = tones + (0.5 * np.sin(2 * np.pi * 11_000 * t) if rate > 32_000 else 0.0)  # would fold back to 5 kHz
    sound = sound.astype(np.float32)
    pieces, whole = Resampler(rate, SAMPLE_RATE), Resampler(rate, SAMPLE_RATE)
    parts = [pieces.push(sound[i : i + 777]) for i in range(0, len(sound), 777)]
    result = np.concatenate([*parts, pieces.finish()])
    np.testing.assert_array_equal(result, np.concatenate([whole.push(sound), whole.finish()]))
    at = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE
    expected = np.sin(2 * np.pi * 440 * at) + 0.5 * np.sin(2 * np.pi * 3000 * at)
    assert len(result) == len(expected)
    np.testing.assert_allclose(result[200:-200], expected[200:-200], atol=1e-3)
