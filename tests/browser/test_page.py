"""The page without a server in a real Chromium: the server's text, offline after the first visit, what goes wrong."""

from __future__ import annotations

import importlib
import re
import shutil
from pathlib import Path

import pytest
from browser import MARKS, chromium
from paths import DATA, ROOT
from speech import clips, long_talk, sentences
from static_space import static_space

from shared.checkpoint import Checkpoint
from shared.errors import UserError
from shared.inference import Transcriber
from shared.units import parse_time
from shared.wer import word_errors

pytest.importorskip("onnxscript")
pytestmark = [pytest.mark.slow, *MARKS]
CLIPS = [clip for clip in clips("it") if clip.path.suffix == ".flac"]
PATIENCE_MS = 300_000  # for a passage of 30 s, on a machine that may be busy


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    """The shipped adapter and its base, which writes times."""
    folder = tmp_path_factory.mktemp("static")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "spaces"))
        browser_bundle, weights = importlib.import_module("browser_bundle"), importlib.import_module("bundle").Weights
    try:
        browser_bundle.onnxruntime_web()
    except UserError as error:
        pytest.skip(f"SKIPPED: onnxruntime-web is not here and cannot be fetched: {error}")
    return browser_bundle.build_browser(folder, weights("embedded:whisper-base"), weights("embedded:whisper-base-it"))


@pytest.fixture(scope="module")
def browser():
    with chromium() as one:
        yield one


def opened(context, address: str):
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.goto(address)
    page.locator("#file:enabled").wait_for(state="attached")  # the page knows its checkpoints
    return page


def transcribed(page, path: Path, checkpoint: str = "fine-tuned", reference: str = "") -> str:
    """What stands in the result, or what the page says went wrong."""
    page.evaluate("why.textContent = ''; why.classList.remove('failed')")  # what it said before is not about this one
    page.locator("#file").set_input_files(path)
    page.locator(".why.failed, .why:has-text('s of sound')").wait_for()
    page.locator("#file:enabled").wait_for(state="attached")
    if page.locator(".why.failed").count():
        return page.locator("#why").inner_text()
    page.locator("#checkpoint").select_option(checkpoint)
    page.locator("#reference").fill(reference)
    page.evaluate("document.querySelector('#result').replaceChildren()")
    page.locator("#go").click()
    page.locator("#result .facts, .why.failed").last.wait_for()
    page.locator("#file:enabled").wait_for(state="attached")
    if page.locator(".why.failed").count():
        return page.locator("#why").inner_text()
    return page.locator("#result .text").first.inner_text()


def test_the_text_is_the_servers_and_the_errors_are_counted_alike(bundle, browser):
    server = Transcriber(Checkpoint.parse("embedded:whisper-base-it"), engine="torch", compute_type="float32")
    with static_space(bundle) as space, browser.new_context() as context:
        page = opened(context, space.address)
        assert page.evaluate("crossOriginIsolated")
        failures: list[str] = []
        page.on("pageerror", lambda error: failures.append(str(error)))
        assert page.locator("#language").input_value() == "it"
        found = wanted = wrong = 0
        for clip in CLIPS:
            text = transcribed(page, clip.path, reference=clip.text)
            errors = word_errors(clip.text, text, "it")
            shown = page.locator("#result").inner_text()
            assert f"{errors.errors} of {errors.reference_length} words wrong" in shown and " s of Italian in " in shown
            between = word_errors(server.transcribe(clip.path, language="it").text, text, "it")
            found, wanted, wrong = found + between.errors, wanted + between.reference_length, wrong + errors.errors
        assert found / wanted <= 0.1 and wrong / wanted <= 0.15
        assert transcribed(page, CLIPS[0].path, "both") and page.locator("#result .side").count() == 2
        assert page.locator("#result [data-model=base] .text p").count() == 1
        assert not failures and page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_long_recording_comes_passage_by_passage_and_stops_where_it_is_told(bundle, browser, tmp_path):
    talk, once = tmp_path / "talk.wav", tmp_path / "once.wav"
    long_talk(talk, 120.0)
    spoken = sentences(once, "it", pause=2.0)
    with static_space(bundle) as space, browser.new_context() as context:
        page = opened(context, space.address)
        text = transcribed(page, once)
        assert word_errors(spoken, text, "it").wer <= 0.15
        times = page.locator("#result .text p").evaluate_all("all => all.map(one => one.dataset.time)")
        assert len(times) > 2 and times == sorted(times) and page.locator("#stop").is_hidden()
        assert saved(page, "TXT", "once-fine-tuned.txt").split() == text.split()
        page.locator("#file").set_input_files(talk)
        page.locator(".why:has-text('2 min of sound')").wait_for()
        page.locator("#go").click()
        page.locator("#result .text p").nth(1).wait_for()  # the text comes while the rest is read
        page.locator("#stop").click()
        page.locator("#result .facts", has_text="Stopped: ").wait_for()
        read = re.search(r"Stopped: (.+?) of 2 min", page.locator("#result").inner_text())
        assert read and 5 < parse_time(read[1]) < 110 and page.locator("#stop").is_hidden()
        assert transcribed(page, CLIPS[0].path)  # the page works on


def saved(page, form: str, name: str) -> str:
    with page.expect_download() as saving:
        page.get_by_role("link", name=form).click()
    assert saving.value.suggested_filename == name
    return Path(saving.value.path()).read_text(encoding="utf-8")


def test_what_the_base_writes_has_the_servers_times(bundle, browser, tmp_path):
    """Sentences with pauses that are left out of the window: segments, and the subtitles of them."""
    talk = tmp_path / "talk.wav"
    sentences(talk, "it", pause=2.0)
    server = Transcriber(Checkpoint.parse("embedded:whisper-base"), engine="torch", compute_type="float32")
    expected = server.transcribe(talk, language="it")
    with static_space(bundle) as space, browser.new_context() as context:
        page = opened(context, space.address)
        text = transcribed(page, talk, "base")
        assert word_errors(expected.text, text, "it").wer <= 0.1
        assert page.locator("#result .text p").count() == len(expected.segments) > 2
        cues = saved(page, "VTT", "talk-base.vtt")
        assert cues.startswith("WEBVTT\n\n") and saved(page, "SRT", "talk-base.srt").startswith("1\n")
        starts = [parse_time(time) for time in re.findall(r"^([\d:.]+) -->", cues, re.M)]
        for segment in expected.segments:  # in 8 bits a time may be another one
            assert min(abs(segment.start - start) for start in starts) < 0.6


def test_it_works_without_a_network_after_the_first_visit(bundle, browser):
    with browser.new_context() as context:
        with static_space(bundle) as space:
            page = opened(context, space.address)
            first = transcribed(page, CLIPS[0].path)
            page.evaluate("navigator.serviceWorker.ready.then(() => null)")
            page.close()
            asked = len(space.asked)
            page = opened(context, space.address)
            assert transcribed(page, CLIPS[0].path) == first
            assert not [path for path in space.asked[asked:] if path.startswith("/models")]  # kept by the browser
            page.close()
        page = opened(context, space.address)  # nobody listens there any more
        assert transcribed(page, CLIPS[0].path) == first
        assert page.evaluate("crossOriginIsolated")


def test_what_goes_wrong_is_said_on_the_page(bundle, browser, tmp_path):
    damaged = tmp_path / "damaged"
    shutil.copytree(bundle, damaged, copy_function=shutil.copyfile)
    weights = damaged / "models" / "base" / "decoder.safetensors"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    with static_space(damaged, headers=False) as space, browser.new_context() as context:
        page = opened(context, space.address)
        assert not page.evaluate("crossOriginIsolated")
        assert "cannot read “clips.csv” as sound" in transcribed(page, DATA / "clips.csv")
        assert "decoder.safetensors is damaged" in transcribed(page, CLIPS[0].path, "base")
        assert "1 thread" in (transcribed(page, CLIPS[1].path) and page.locator("#result").inner_text())
