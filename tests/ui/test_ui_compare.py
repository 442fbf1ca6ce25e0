"""The compare page as programs use it: two real checkpoints on real speech, one clip and a whole test set."""

from __future__ import annotations

import csv
import json
import time
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import running_app
from gradio_client import handle_file
from gradio_client.exceptions import AppError
from hub_server import USER
from huggingface_hub import HfApi
from media_server import serves
from page_client import PageClient
from speech import clips

from shared.checkpoint.embedded import embedded_base
from shared.options import Options
from shared.serving import Limits, Request, Serving
from shared.testset import Clip, ClipSet, evaluate
from shared.ui import RESULTS, ROOT, UPLOADS
from shared.ui.pages import compare, compare_clip, compare_set, compare_set_view
from shared.ui.pages.compare_inputs import AskedTestSet, CompareHow, clips_of
from shared.ui.server.jobs import Job
from shared.ui.server.launch import Page, announce, build, start
from shared.wer import word_errors

MAILBOX = clips("it")[1]
HOW = ("it", "auto", 1, 0.5, "", "", "", "")
COLUMNS = ("", "")


@pytest.fixture(scope="module")
def italian(tmp_path_factory) -> Path:
    """A checkpoint folder that says it was tuned for Italian; its weights are the base's."""
    folder = tmp_path_factory.mktemp("checkpoints") / "whisper-italian"
    folder.mkdir()
    for file in embedded_base().iterdir():
        (folder / file.name).symlink_to(file)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").unlink()
    (folder / "config.json").write_text(json.dumps(config | {"finetuned_languages": ["it"]}))
    return folder


@pytest.fixture(scope="module")
def app(italian):
    serving = Serving("embedded:whisper-base", str(italian),
                      limits=Limits(max_seconds=600.0, max_bytes=50_000_000))
    demo = build("Compare", [Page("Compare", "compare", compare.page)], serving)
    yield start(demo, max_bytes=50_000_000, block=False)
    demo.close()


@pytest.fixture
def client(app):
    return PageClient(app, verbose=False)


def ask(client: PageClient, clip: Path, reference: str = "", how=HOW) -> tuple[dict, str]:
    data, html, *_ = client.predict(handle_file(str(clip)), reference, *how, api_name="/compare_clip")
    return data, html


def ask_set(client: PageClient, source: str, *where, how=HOW) -> tuple:
    return client.predict(source, *where, *COLUMNS, *how, api_name="/compare_clips")


def zipped(folder: Path, files: dict[str, bytes], rows: list[tuple[str, str]], copies: int = 1) -> Path:
    with zipfile.ZipFile(folder / "set.zip", "w") as archive:
        table = "".join(f'{number}-{name},"{text}"\n' for number in range(copies) for name, text in rows)
        archive.writestr("table.csv", "file,text\n" + table)
        for number in range(copies):
            for name, data in files.items():
                archive.writestr(f"{number}-{name}", data)
    return folder / "set.zip"


def no_upload_left() -> bool:
    left = [path for path in UPLOADS.rglob("*")
            if path.suffix in {".flac", ".zip", ".ogg"} and path not in running_app.there_before]
    return not left and not list(ROOT.glob("clip-*"))


def test_every_action_is_a_named_endpoint(client):
    named = set(client.view_api(return_format="dict", print_info=False)["named_endpoints"])
    assert named >= {"/compare_clip", "/compare_example", "/compare_clips", "/stop_compare"}


def test_one_clip_with_its_reference(client):
    data, html = ask(client, MAILBOX.path, MAILBOX.text)
    assert [side["name"] for side in data["sides"]] == ["Base", "Fine-tuned"] and data["language"] == "it"
    for side in data["sides"]:
        counted = word_errors(MAILBOX.text, side["text"], "it")
        assert side["errors"]["words"]["errors"] == counted.errors and counted.wer <= 0.4
        assert [tuple(step) for step in side["alignment"]] == list(counted.alignment)
        assert side["errors"]["raw_words"]["rate"] >= 0 and side["rtfx"] > 0
    assert data["verdict"] == "too short to tell" and "too short to tell" in html and "interval" not in html
    assert "whisper-italian" in html and "tuned for" not in html
    assert no_upload_left()


def test_without_a_reference_there_is_no_error_rate(client):
    data, html = ask(client, MAILBOX.path, "  ")
    assert data["reference"] is None and data["sides"][0]["errors"] is None and data["verdict"] is None
    assert "WER" not in html and "against each other" in html


def test_the_language_is_detected_once_and_named(client):
    data, html = ask(client, clips("ru")[0].path, "", how=("detect", *HOW[1:]))
    assert data["language"] == "ru" and all("звонок" in side["text"] for side in data["sides"])
    assert "as the base model detected it" in data["notes"][0]
    assert any("tuned for Italian, not for Russian" in note for note in data["notes"]) and "tuned for Italian" in html


def test_an_example_has_its_known_text(client):
    data, html, *_ = client.predict(1, *HOW, api_name="/compare_example")
    assert data["reference"].startswith("Spiacente") and data["sides"][1]["errors"]["words"]["rate"] < 0.5
    assert 'class="diff"' in html


def test_another_checkpoint_on_either_side(client, italian):
    data, _ = ask(client, MAILBOX.path, "", how=(*HOW[:6], str(italian), "embedded:whisper-base"))
    assert [side["checkpoint"] for side in data["sides"]] == [italian.name, "embedded:whisper-base"]
    with pytest.raises(AppError, match="names no checkpoint"):
        ask(client, MAILBOX.path, "", how=(*HOW[:6], "no such thing", ""))


@pytest.mark.parametrize(("reference", "message"), [("…!", "holds no words"), ("a " * 11_000, "is too long")])
def test_references_that_cannot_be_used(client, reference, message):
    with pytest.raises(AppError, match=message):
        ask(client, MAILBOX.path, reference)


def test_bad_input_gets_a_message_and_the_page_goes_on(client, tmp_path):
    (tmp_path / "notes.mp3").write_text("Only words. " * 99)
    with pytest.raises(AppError, match="What to do"):
        ask(client, tmp_path / "notes.mp3")
    with pytest.raises(AppError, match="There is no speech yet"):
        client.predict(None, "", *HOW, api_name="/compare_clip")
    with pytest.raises(AppError, match="No zip was chosen"):
        ask_set(client, "zip", None, None, "", "", "test", 10)
    with pytest.raises(AppError, match="not a zip file"):
        ask_set(client, "zip", handle_file(str(tmp_path / "notes.mp3")), None, "", "", "test", 10)
    with pytest.raises(AppError, match="name of a Hub data set"):
        ask_set(client, "hub", None, None, "../etc", "", "test", 10)
    with pytest.raises(AppError, match=r"number of rows|less than minimum"):
        ask_set(client, "hub", None, None, "a/b", "", "test", 0)
    assert client.predict(0, *HOW, api_name="/compare_example")[0] and no_upload_left()


def test_a_test_set_from_a_zip(client, tmp_path):
    rows = [(clip.path.name, clip.text) for clip in clips("it")[:2]]
    files = {clip.path.name: clip.path.read_bytes() for clip in clips("it")[:2]}
    archive = zipped(tmp_path, files | {"bad.flac": b"no flac at all"},
                     [*rows, ("bad.flac", "mai"), ("gone.flac", "x")])
    summary, html, paths, *_ = ask_set(client, "zip", handle_file(str(archive)), None, "", "", "test", 10,
                                       how=("detect", *HOW[1:]))
    assert summary["n_clips"] == 2 and summary["language"] == "it" and len(summary["failed"]) == 2
    assert summary["verdict"] == "too short to tell" and "Too short to tell" in html and html.count("<svg") == 3
    assert all(side["words"]["interval"] is None for side in summary["sides"])
    with open(paths[0], encoding="utf-8-sig", newline="") as file:
        table = list(csv.DictReader(file))
    assert len(table) == 2 * 2 + 2 and {row["transcriber"] for row in table} == {"Base", "Fine-tuned", ""}
    scored = [word_errors(row["reference"], row["hypothesis"], "it") for row in table if row["transcriber"] == "Base"]
    assert sum(one.errors for one in scored) == summary["sides"][0]["words"]["errors"]
    assert json.loads(Path(paths[2]).read_text())["verdict"] == summary["verdict"]
    assert no_upload_left()


@pytest.mark.parametrize(("hypotheses", "verdict", "sentence"), [
    (("one two three", "one two three four"), "better", "makes fewer word errors, and that is real: −"),
    (("one two three four", "one too three four"), "worse", "makes more word errors, and that is real: +"),
    (("one two three", "two three four"), "no difference shown", "the interval holds zero (+0.0 points"),
])
def test_what_a_large_test_set_says(base, hypotheses, verdict, sentence):
    """The page's words and plots for a set long enough for an interval, whatever wrote the texts."""
    data = clips("en")[0].path.read_bytes()
    many = ClipSet("a <set>", [Clip(f"{n}.flac", "one two three four", lambda: data, ".flac") for n in range(20)])
    first, second = hypotheses
    result = evaluate(many, {"Base": lambda waveform: first, "Fine-tuned": lambda waveform: second}, language="en")
    html = compare_set_view.html(result, ["A <note>"])
    assert result.comparisons[0].verdict == verdict and sentence in compare_set_view.verdict_text(result)
    assert sentence.split(":")[0] in html and "a &lt;set&gt;" in html and "A &lt;note&gt;" in html
    assert html.count("<svg") == 3 and html.count('<details class="clip-row"') == 20
    low, high = compare_set.as_dict(result, (base, base), [])["sides"][0]["words"]["interval"]
    assert isinstance(low, float) and low <= result.scores[0].wer <= high
    assert "nan" not in html and "too short to tell" not in html


@pytest.mark.slow
def test_a_test_set_large_enough_for_an_interval(client, tmp_path):
    """Twenty short clips through the real models."""
    clip = clips("en")[0]
    archive = zipped(tmp_path, {"a.flac": clip.path.read_bytes()}, [("a.flac", clip.text)], copies=20)
    summary, html, *_ = ask_set(client, "zip", handle_file(str(archive)), None, "", "", "test", 10,
                                how=("en", *HOW[1:]))
    assert summary["verdict"] in ("no difference shown", "better", "worse") and summary["difference"]["low"] is not None
    low, high = summary["sides"][0]["words"]["interval"]
    assert low <= summary["sides"][0]["words"]["rate"] <= high
    assert "95\u00a0% interval" in html and any("not for English" in note for note in summary["notes"])


def test_rows_of_a_hub_data_set(client, hub, tmp_path):
    rows = [{"audio": {"bytes": clip.path.read_bytes(), "path": clip.path.name}, "text": clip.text}
            for clip in clips("it")]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "test-00000-of-00001.parquet")
    api = HfApi()
    api.create_repo(f"{USER}/mailbox", repo_type="dataset")
    api.upload_folder(repo_id=f"{USER}/mailbox", repo_type="dataset", folder_path=tmp_path, path_in_repo="data")
    ask_set(client, "hub", None, None, f"https://huggingface.co/datasets/{USER}/mailbox", "", "test", 1)
    summary, *_ = ask_set(client, "hub", None, None, f"{USER}/mailbox", "", "test", 2)
    assert summary["n_clips"] == 2 and summary["origin"].startswith(f"{USER}/mailbox")
    with pytest.raises(AppError, match="no such split"):
        ask_set(client, "hub", None, None, f"{USER}/mailbox", "", "validation", 2)


def test_a_test_set_behind_a_link_is_read_as_links_are(client, tmp_path, monkeypatch):
    """A zip's address in the field of the data set; hosts and addresses are judged as on the page for links."""
    zipped(tmp_path, {MAILBOX.path.name: MAILBOX.path.read_bytes()}, [(MAILBOX.path.name, MAILBOX.text)])
    with serves(tmp_path) as address:
        link = f"{address}/set.zip"
        monkeypatch.setenv("ALLOWED_HOSTS", "*")
        with pytest.raises(AppError, match="private address"):
            ask_set(client, "hub", None, None, link, "", "test", 10)
        monkeypatch.setenv("LINK_ALLOW_LOOPBACK", "1")
        monkeypatch.setenv("ALLOWED_HOSTS", "")
        with pytest.raises(AppError, match="not allowed here"):
            ask_set(client, "hub", None, None, link, "", "test", 10)
        monkeypatch.setenv("ALLOWED_HOSTS", address.removeprefix("http://"))
        summary, *_ = ask_set(client, "hub", None, None, link, "", "test", 10)
        assert summary["n_clips"] == 1 and summary["origin"] == link
        (tmp_path / "page.zip").write_text("<html>Sign in</html>")
        with pytest.raises(AppError, match="not a zip file"):
            ask_set(client, "hub", None, None, f"{address}/page.zip", "", "test", 10)
    assert not list(ROOT.glob("testset-*"))


def test_a_private_data_set_is_not_shown_to_visitors_unless_its_owner_lists_it(client, hub, app, tmp_path):
    """The machine has the owner's token (see the `hub` fixture); a visitor has not."""
    rows = [{"audio": {"bytes": MAILBOX.path.read_bytes(), "path": "a.flac"}, "text": "secret words"}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "test.parquet")
    hub.add("dataset", f"{USER}/secret", {"test.parquet": (tmp_path / "test.parquet").read_bytes()}, private=True)
    with pytest.raises(AppError) as refused:
        ask_set(client, "hub", None, None, f"{USER}/secret", "", "test", 1)
    assert "no such data set" in str(refused.value) and "secret words" not in str(refused.value)
    assert hub.downloads(f"{USER}/secret") == []
    asked = AskedTestSet("hub", None, None, f"{USER}/secret", None, "test", 1, None, None, None)
    with clips_of(asked, Limits(datasets=(f"{USER}/secret",))) as clips:
        assert [clip.reference for clip in clips.clips] == ["secret words"]


def test_stop_ends_a_test_set_and_keeps_nothing(client, tmp_path):
    before = set(RESULTS.iterdir())
    archive = zipped(tmp_path, {MAILBOX.path.name: MAILBOX.path.read_bytes()}, [(MAILBOX.path.name, MAILBOX.text)], 60)
    running = client.submit("zip", handle_file(str(archive)), None, "", "", "test", 10, *COLUMNS, *HOW,
                            api_name="/compare_clips")
    while "clips read" not in str(running.status().progress_data):
        assert not running.done(), running.exception()
        time.sleep(0.05)
    client.predict(api_name="/stop_compare")
    with pytest.raises(AppError, match="Stopped"):
        running.result(timeout=60)
    assert set(RESULTS.iterdir()) == before and no_upload_left()


def test_without_the_fine_tuned_checkpoint_the_page_says_so_and_stops(capsys):
    serving = Serving("embedded:whisper-base", "embedded:no-such")
    announce(serving)
    printed = capsys.readouterr().err
    assert "embedded:no-such is not available" in printed and printed.count("!") > 40
    demo = build("Compare", [Page("Compare", "compare", compare.page)], serving)
    texts = [str(block.value) for block in demo.blocks.values() if isinstance(getattr(block, "value", None), str)]
    assert any("There is nothing to compare" in text for text in texts)
    assert not [block for block in demo.blocks.values() if block.__class__.__name__ == "Audio"]


def test_on_a_space_only_what_the_owner_allows(italian):
    serving = Serving("embedded:whisper-base", str(italian), limits=Limits(allowed=("openai/whisper-tiny",)))
    demo = build("Compare", [Page("Compare", "compare", compare.page)], serving)
    address = start(demo, max_bytes=None, block=False)
    try:
        client = PageClient(address, verbose=False)
        for name in ("/etc", "KBLab/kb-whisper-large"):
            with pytest.raises((AppError, ValueError), match=r"may not be loaded here|not in the list of choices"):
                ask(client, MAILBOX.path, "", how=(*HOW[:6], name, ""))
    finally:
        demo.close()


def test_a_checkpoint_tuned_to_translate_is_compared_by_the_language_it_writes(italian):
    """Italian speech, English references: both translate, and words count as English ones."""
    config = json.loads((italian / "config.json").read_text())
    folder = italian.parent / "whisper-into-english"
    folder.mkdir()
    for file in italian.iterdir():
        if file.name != "config.json":
            (folder / file.name).symlink_to(file.resolve())
    (folder / "config.json").write_text(json.dumps(config | {"finetuned_task": "translate", "text_language": "en"}))
    serving = Serving("embedded:whisper-base", str(folder))
    assert serving.fine_tuned is not None
    pair = serving.base, serving.fine_tuned
    clip = clips("it")[3]
    request = Request(clip.path, Options("it"))
    found = compare_clip.compare_clip(serving, request, "I'm leaving a message", pair, Job())
    assert (found.language, found.text_language) == ("it", "en") and compare_clip.TRANSLATED in found.notes
    assert all("call" in side.answer.transcript.text.lower() for side in found.sides)
    one = Clip(clip.path.name, "please call again", clip.path.read_bytes, clip.path.suffix)
    how = CompareHow(Options("it"), "auto", None, None)
    evaluation, notes = compare_set.compare_set(serving, ClipSet("one", [one], 1), pair, how, Job())
    assert evaluation.language == "en" and compare_clip.TRANSLATED in notes and len(evaluation.clips) == 1
