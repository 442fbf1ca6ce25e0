"""Where a finished data set can go: one ZIP, an fsspec address, a private data set on the Hub; and its report."""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from pathlib import Path

import corpora
import fsspec
import pytest
from datasets import Audio, load_dataset
from huggingface_hub import HfApi

from feature_pipeline.build import build
from feature_pipeline.config import Config, Output, Source
from feature_pipeline.publish import to_fsspec, to_hub, to_zip
from feature_pipeline.sources.folder import Folder
from shared.errors import UserError


def config(corpus: Path, out: Path, **output) -> Config:
    return Config("small", (Source("folder", Folder(str(corpus), "en"), "mine"),), out=str(out), workers=1,
                  title="Small <set> & more", output=Output(**output))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    return corpora.folder(tmp_path_factory.mktemp("corpus"), n_rows=60)


@pytest.fixture(scope="module")
def built(corpus, tmp_path_factory) -> Path:
    return build(config(corpus, tmp_path_factory.mktemp("out")), say=lambda line: None)


def contents(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in folder.rglob("*") if path.is_file() and ".build" not in path.parts}


def test_one_zip_with_everything_and_the_same_bytes_each_time(built, tmp_path):
    one, other = (to_zip(built, tmp_path / name) for name in ("a.zip", "b.zip"))
    assert one.read_bytes() == other.read_bytes()
    with zipfile.ZipFile(one) as bundle:
        assert bundle.namelist()[-1] == "manifest.json"
        bundle.extractall(tmp_path / "back")
    assert contents(tmp_path / "back") == contents(built)


def test_any_fsspec_address(built):
    files = fsspec.filesystem("memory")
    files.makedirs("/bucket/speech/data", exist_ok=True)
    files.pipe("/bucket/speech/data/train-00000-of-00009.parquet", b"left by another build")
    to_fsspec(built, "memory://bucket/speech")
    found = {path.removeprefix("/bucket/speech/"): hashlib.sha256(files.cat(path)).hexdigest()
             for path in files.find("/bucket/speech")}
    assert found == contents(built)
    with pytest.raises(UserError, match="cannot be written to"):
        to_fsspec(built, "nosuchthing://bucket")


def test_a_private_data_set_on_the_hub_that_datasets_loads(built, corpus, hub, tmp_path):
    messages: list[str] = []
    build(config(corpus, built, hub="tester/small"), say=messages.append)  # complete: only pushed
    pushed, commit = messages[-1].removeprefix("pushed to ").split("@")
    api = HfApi()
    info = api.dataset_info(pushed)
    assert info.private and info.sha == commit
    names = set(api.list_repo_files(pushed, repo_type="dataset")) - {".gitattributes"}
    assert names == set(contents(built))
    data = load_dataset("tester/small", revision=commit, split="test").cast_column("audio", Audio(decode=False))
    local = load_dataset("parquet", data_files=str(built / "data/test-*.parquet"), split="train", cache_dir=tmp_path)
    assert data["id"] == local["id"] and data[0]["audio"] == local[0]["audio"]
    assert to_hub(built, "tester/small", private=True).endswith(commit)  # nothing new, no new commit


def test_the_hub_says_no(built, hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", hub.read_token)
    with pytest.raises(UserError, match=r"may only read.*hf auth login"):
        to_hub(built, "tester/small", private=True)
    monkeypatch.setenv("HF_TOKEN", hub.token)
    with pytest.raises(UserError, match=r"may not write there\. Got: stranger"):
        to_hub(built, "stranger/small", private=True)
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(UserError, match="hf auth login"):
        to_hub(built, "tester/small", private=True)


def test_an_unfinished_folder_is_not_given_away(tmp_path):
    with pytest.raises(UserError, match="no finished data set"):
        to_zip(tmp_path, tmp_path / "x.zip")


def test_the_report_fetches_nothing_and_escapes_everything(built):
    text = (built / "report.html").read_text()
    assert "Small &lt;set&gt; &amp; more" in text and "<set>" not in text
    assert not re.search(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//|@import|url\(""", text)
    assert "default-src 'none'" in text and text.count("data:audio/mpeg;base64,") == text.count("<audio") > 5
    facts = json.loads((built / "manifest.json").read_text())
    for drop in facts["drops"]:
        assert drop["reason"] in text


@pytest.mark.browser
def test_the_report_in_a_browser(built):
    """Drawn at phone and desktop width, in light and dark; the clips play; no request leaves the page."""
    sync_api = pytest.importorskip("playwright.sync_api")
    if not Path("/usr/bin/chromium").exists():
        pytest.skip("no Chromium at /usr/bin/chromium")
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"])
        requests, errors = [], []
        for width, scheme in ((1200, "light"), (390, "dark")):
            page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
            page.on("request", lambda request: requests.append(request.url))
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
            page.goto((built / "report.html").as_uri())
            assert page.locator("svg.chart rect").count() > 5
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            length = page.evaluate("""() => new Promise((done, fail) => { const clip = document.querySelector('audio');
                clip.onloadedmetadata = () => done(clip.duration); clip.onerror = fail; clip.load(); })""")
            assert 0.9 < length < 1.3
        browser.close()
    assert not errors and all(url.startswith(("file:", "data:")) for url in requests)
