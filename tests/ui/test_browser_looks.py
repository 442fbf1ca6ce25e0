"""How the pages present themselves: the front page, the order of controls, what keys and screen readers find."""

from __future__ import annotations

import dataclasses
import re
import urllib.request
from collections.abc import Iterator
from importlib import resources

import pytest
from browser import MARKS, PATIENCE_MS, SCREENS, visit
from paths import DATA, ROOT
from running_app import running_app

from shared.serving import Serving
from shared.ui.pages.suite import NAME, pages_with
from shared.ui.server import uses
from shared.ui.server.launch import build, start
from training.studio.page import PAGE, Studio, render

pytestmark = MARKS
LOOKS = [("desktop", "light"), ("phone", "dark"),
         *(pytest.param(*one, marks=pytest.mark.slow) for one in (("desktop", "dark"), ("phone", "light")))]
AXE = (resources.files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
CARD = (ROOT / "shared/models/whisper-base-it/README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def app() -> str:
    return running_app().address


@pytest.mark.parametrize("screen", SCREENS)
def test_the_front_page_leads_to_each_page_and_shows_what_the_card_says(app, screen, browsers):
    with visit(browsers(), app, screen) as page:
        numbers = page.locator("#home .score-number").all_inner_texts()
        for name, shown in zip(("base", "fine-tuned"), numbers, strict=True):
            in_card = re.search(rf"^\| {name} \| ([\d.]+)", CARD, re.M)[1]
            assert shown.split("\u00a0")[0].strip() == f"{float(in_card):.1f}"
        clips = re.search(r"(\d+) clips", CARD.partition("Split `test`")[2])[1]
        assert page.locator("#home").get_by_text(f"{clips} clips").count() == 1
        for title in ("Microphone", "Files", "Links", "Compare"):
            page.locator("#home").get_by_role("link", name=title).first.click()
            page.locator("h1").filter(has_text=title).wait_for()
            page.go_back()
            page.locator("#home").wait_for()


def test_a_link_to_the_app_shows_a_picture_and_a_name_elsewhere(app, browsers):
    with visit(browsers(), app) as page:
        picture = page.locator("meta[property='og:image']").first.get_attribute("content")
        assert page.locator("meta[property='og:title']").first.get_attribute("content") == "Whisper Spaces"
        assert "/tmp" not in picture and str(ROOT) not in picture
        with urllib.request.urlopen(app + picture) as answer:
            assert answer.headers["content-type"] == "image/png" and len(answer.read()) > 5000
        with urllib.request.urlopen(f"{app}/favicon.ico") as answer:
            assert b"0f766e" in answer.read()


FIELDS = {"microphone": "microphone-go", "files": "upload-go", "links": "youtube-go", "compare": "compare-go"}


@pytest.mark.parametrize("screen", SCREENS)
@pytest.mark.parametrize("path", FIELDS)
def test_controls_then_one_button_with_its_reason_then_the_result(app, path, screen, browsers):
    with visit(browsers(), f"{app}/{path}", screen) as page:
        go = page.locator(f"#{FIELDS[path]}")
        go.wait_for()
        primary = page.locator("button.primary:visible")
        assert primary.count() == 1 and go.is_disabled()
        page.locator(f"#{FIELDS[path]}-why").filter(has_text="first").wait_for()
        top = go.bounding_box()["y"]
        for control in page.locator(".page input:visible, .page [role=combobox]:visible, .advanced:visible").all():
            assert control.bounding_box()["y"] < top, "a control stands below the button"
        if screen == "phone":
            result = page.locator("[id$='-result']").bounding_box()["y"]
            assert 0 < result - top < 130, "the result is directly under the button"


def test_a_language_is_found_by_its_names_and_codes(app, browsers):
    """With real keys: what begins so comes first, and accents do not matter."""
    with visit(browsers(), f"{app}/files") as page:
        field = page.get_by_label("Spoken language").first
        for typed, found in (("fr", "French"), ("af", "Afrikaans"), ("svenska", "Swedish"), ("Francais", "French"),
                             ("中文", "Chinese"), ("farsi", "Persian"), ("deu", "German"), ("pt", "Portuguese")):
            field.click()
            page.keyboard.type(typed)
            page.keyboard.press("Enter")
            assert field.input_value() == found
        field.click()
        page.keyboard.type("xyzzy")
        page.get_by_text("No such language").wait_for()
        page.keyboard.press("Escape")
        assert field.input_value() == "Portuguese"
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        assert field.input_value() == "Punjabi"


def violations(page) -> list[str]:
    """What axe-core finds in the page as it is, rules of best practice included."""
    page.evaluate(AXE)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [f"{rule['id']}: {node['html'][:150]} {node['failureSummary'][:200]}" for rule in found
            for node in rule["nodes"]]


@pytest.mark.parametrize(("screen", "scheme"), LOOKS)
def test_axe_finds_nothing_on_any_page(app, screen, scheme, browsers):
    with visit(browsers(), app, screen, scheme=scheme) as page:
        for path in ("", *FIELDS):
            page.goto(f"{app}/{path}")
            page.locator("h1").wait_for()
            page.locator("footer").first.wait_for(state="attached")  # on a phone Gradio hides it
            page.get_by_text("Loading...", exact=True).wait_for(state="detached")  # Gradio's own, before its blocks
            page.wait_for_timeout(700)  # Gradio fades its blocks in, and what is half there has half the contrast
            assert violations(page) == [], path


@pytest.mark.parametrize(("path", "done"), [("files", "#upload-result .facts"),
                                            ("compare", "#compare-result .verdict")])
def test_axe_finds_nothing_in_a_result(app, path, done, browsers):
    """The same result at both widths and in both themes, to which a page turns while it is open."""
    with visit(browsers(), f"{app}/{path}") as page:
        page.get_by_text("Italian: a greeting").first.click()
        page.locator(done).wait_for(timeout=PATIENCE_MS)
        for fold in page.locator("[id$='-result'] summary").all():
            fold.click()
        page.locator(".advanced button, .advanced summary").first.click()
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            page.wait_for_function(f"document.body.classList.contains('dark') === {str(scheme == 'dark').lower()}")
            for screen, size in SCREENS.items():
                page.set_viewport_size(size)
                page.wait_for_timeout(700)
                assert violations(page) == [], f"{scheme}, {screen}"
                assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), screen


@pytest.fixture(scope="module")
def own(tmp_path_factory) -> Iterator[str]:
    """The suite as on one's own machine, with the page Train: three sentences, of which one is recorded."""
    place = tmp_path_factory.mktemp("own")
    recordings = Studio(place).recordings("en")
    recordings.add(["One sentence.", "Another one.", "And a third."])
    recordings.keep(1, DATA / "en_austen-0880.flac")
    train = dataclasses.replace(PAGE, render=lambda serving: render(serving, Studio(place)))
    demo = build(NAME, pages_with(train), Serving("embedded:whisper-base", "embedded:whisper-base-it"))
    yield start(demo, max_bytes=None, block=False).rstrip("/")
    uses.withdraw("train")
    demo.close()


@pytest.mark.parametrize(("screen", "scheme"), LOOKS)
def test_the_page_train_has_a_card_and_axe_finds_nothing_on_it(own, screen, scheme, browsers):
    with visit(browsers(), own, screen, scheme=scheme) as page:
        page.locator("#home").get_by_role("link", name="Train").wait_for()
        page.wait_for_timeout(700)
        assert violations(page) == [], "front page"
        page.locator("#home").get_by_role("link", name="Train").click()
        page.locator("#train-sentence").filter(has_text="Sentence 2 of 3").wait_for()
        page.wait_for_timeout(700)
        assert violations(page) == [], "with sentences"
        page.goto(f"{own}/train?language=it")
        page.locator("#train-sentence").filter(has_text="Add some sentences").wait_for()
        page.wait_for_timeout(700)
        assert violations(page) == [], "without"


REACHABLE = "a[href], button, input, textarea, select, summary, [role=combobox], [role=tab]"
# Of each control in sight: has it had the focus, and could that be seen? A file field's own input is not shown.
IN_SIGHT = """() => { window.seen = new Set(); window.unseen = [];
    window.look = () => {
        const one = document.activeElement, style = getComputedStyle(one);
        if (one === document.body) return false;
        window.seen.add(one);
        const shown = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
        if (!shown) window.unseen.push(one.outerHTML.slice(0, 150));
        return true; }; }"""
MISSED = """(selector) => [...document.querySelectorAll(selector)].filter((one) => {
    const box = one.getBoundingClientRect();
    const elsewhere = one.tabIndex < 0 || (one.type === "radio" && !one.checked);  // arrows lead there
    return one.checkVisibility({visibilityProperty: true, opacityProperty: true}) && box.width > 2 && !one.disabled
        && !elsewhere && !window.seen.has(one);
  }).map((one) => one.outerHTML.slice(0, 200))"""


@pytest.mark.parametrize("path", ["", *FIELDS, "train"])
def test_everything_is_reached_with_tab_and_one_sees_where_one_is(app, own, path, browsers):
    with visit(browsers(), f"{own if path == 'train' else app}/{path}") as page:
        if path == "train":
            page.locator("#train-sentence").filter(has_text="Sentence 2 of 3").wait_for()
        page.wait_for_timeout(700)
        page.evaluate(IN_SIGHT)
        for _ in range(80):
            page.keyboard.press("Tab")
            if not page.evaluate("window.look()"):
                break
        else:
            pytest.fail("the keyboard never leaves the page")
        assert page.evaluate(MISSED, REACHABLE) == []
        assert page.evaluate("window.unseen") == []
