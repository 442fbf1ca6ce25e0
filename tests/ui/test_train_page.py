"""From a microphone to a proven checkpoint in one sitting, in a real browser: six sentences, the smallest settings."""

from __future__ import annotations

import csv
import json
import subprocess

import pytest
from browser import MARKS, playwright, visit
from paths import DATA
from training_world import small_base

from shared.audio import ffmpeg_executable, probe
from shared.serving import Limits, Serving
from shared.ui.pages import compare, home
from shared.ui.server.launch import Page, build, start
from training.studio.page import Studio, render

pytestmark = [*MARKS, pytest.mark.slow, pytest.mark.timeout(1500)]
SMALLEST = ("method.lora_rank=2", "steps.batch_size=3", "steps.eval_steps=3", "extra.join=0")
CLIPS = ("it_vm-mailboxfull.flac", "it_priv-introsaved.flac", "it_vm-tmpexists.flac", "en_austen-0880.flac",
         "en_austen-0890.ogg", "en_austen-0930.flac")


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    """The first clip for the fake microphone, with silence around it."""
    path = tmp_path_factory.mktemp("speech") / "clip.wav"
    subprocess.run([ffmpeg_executable(), "-v", "error", "-i", str(DATA / CLIPS[0]), "-af", "adelay=500,apad=pad_dur=2",
                    "-ar", "48000", str(path)], check=True)
    return path


@pytest.fixture
def suite(tmp_path):
    studio = Studio(tmp_path, base=str(small_base(tmp_path / "base")), max_steps=6, more=SMALLEST)
    served = Serving("embedded:whisper-base", "embedded:whisper-base-it", limits=Limits())
    pages = (Page("Whisper Spaces", "", home.page), Page("Compare", "compare", compare.page),
             Page("Train", "train", lambda serving: render(serving, studio)))
    demo = build("Whisper Spaces", pages, served)
    yield start(demo, max_bytes=None, block=False).rstrip("/"), tmp_path
    demo.close()


def test_from_the_microphone_to_the_proof(suite, speech, browsers):
    address, place = suite
    with (DATA / "clips.csv").open(encoding="utf-8") as file:
        texts = {row["file"]: row["text"] for row in csv.DictReader(file)}
    with visit(browsers(speech), f"{address}/train") as page:
        page.locator("#train-sentences textarea").fill("\n".join(texts[name] for name in CLIPS))
        page.locator("#train-add").click()
        for number, name in enumerate(CLIPS, 1):
            page.locator("#train-sentence").filter(has_text=f"Sentence {number} of 6").wait_for()
            assert page.locator("#train-keep").is_disabled()
            if number == 1:
                page.get_by_role("button", name="Record", exact=True).click()
                page.wait_for_timeout(int(1000 * probe(speech).duration) - 1000)
                page.locator("#train-recording").get_by_role("button", name="Stop", exact=True).click()
            else:
                page.locator("#train-recording").get_by_label("Upload file").click()
                page.locator("#train-recording input[type=file]").set_input_files(DATA / name)
            page.locator("#train-keep:not([disabled])").click()
        page.get_by_text("6 of 6 recorded").wait_for()
        page.locator("#train-start").click()
        page.get_by_text("Building the data set").first.wait_for()
        page.reload()  # the work is not the page's
        page.locator("#train-status progress").wait_for()
        page.locator("#train-stop").click()
        page.get_by_text("stopped while").wait_for()
        page.locator("#train-name textarea, #train-name input").fill("en-1")
        page.locator("#train-start").click()
        page.locator("#train-status .scoreboard").wait_for(timeout=900_000)
        scores = json.loads((place / "runs/en-1/evaluation/scores.json").read_text())
        assert f"{scores['systems']['base']['wer']:.1f}" in page.locator("#train-status .scoreboard").inner_text()
        assert page.locator("#train-status img").get_attribute("alt")
        page.locator("#train-compare").click()
        box = page.locator("#compare-fine-tuned textarea, #compare-fine-tuned input")
        box.wait_for()
        playwright.expect(box).to_have_value(str(place / "runs/en-1/model"))
