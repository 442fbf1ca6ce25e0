"""The five tools as programs use them: over MCP with its own SDK, and as endpoints with Gradio's client."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from media_server import serves
from paths import DATA
from running_app import running_app
from testset_world import italian, packed, references, table
from tool_calls import ITALIAN, NAMES, SOUND, as_data_url, call, in_session, left_over, text_of, upload, wer

from shared.errors import UserError
from shared.serving import Limits
from shared.system.temporary import temporary_root
from shared.ui.server.jobs import Job
from shared.ui.tools.files import Files, reads_own_files
from shared.wer import word_errors


@pytest.fixture(scope="module")
def address() -> str:
    return running_app().address


def test_there_are_five_tools_and_all_of_each_is_described(address):
    tools = in_session(address, lambda session: session.list_tools()).tools
    assert [tool.name for tool in tools] == NAMES
    for tool in tools:
        assert tool.title and len(tool.description) > 40
        for name, described in tool.inputSchema["properties"].items():
            assert len(described["description"]) > 20, (tool.name, name)
            assert ("default" in described) != (name in tool.inputSchema.get("required", [])), (tool.name, name)
        assert tool.outputSchema["properties"]
    assert [tool.inputSchema.get("required", []) for tool in tools] == [["audio"], ["link"], ["audio"], [], []]
    assert {"text", "language", "duration", "segments", "checkpoint"} <= tools[0].outputSchema["properties"].keys()


@pytest.mark.parametrize("given", ["path", "file address", "data URL", "upload"])
def test_a_recording_however_it_is_given(address, given):
    audio = {"path": lambda: str(SOUND), "file address": SOUND.as_uri, "data URL": lambda: as_data_url(SOUND),
             "upload": lambda: upload(address, SOUND)}[given]()
    found = call(address, "transcribe", audio=audio, language="it")
    assert not found.isError and wer(found.structuredContent["text"]) < 0.3
    assert found.structuredContent["checkpoint"] == "embedded:whisper-base-it"
    assert found.structuredContent["duration"] == pytest.approx(4.5, abs=1)
    assert found.structuredContent["segments"][0]["end"] > 1 and found.structuredContent["segments"][0]["words"] == []
    assert text_of(found).startswith(found.structuredContent["text"]) and "Italian" in text_of(found)
    assert SOUND.exists() and left_over() == []
    assert given != "upload" or not Path(audio).exists()


@pytest.fixture
def media(monkeypatch):
    with serves(DATA) as found:
        monkeypatch.setenv("LINK_ALLOW_LOOPBACK", "1")
        monkeypatch.setenv("ALLOWED_HOSTS", found.removeprefix("http://"))
        yield found


def test_an_address_and_a_link(address, media):
    link = f"{media}/{SOUND.name}"
    assert wer(call(address, "transcribe", audio=link).structuredContent["text"]) < 0.3
    whole = call(address, "transcribe_link", link=link, language="Italian").structuredContent
    part = call(address, "transcribe_link", link=link, language="it", start="0:02", words=True).structuredContent
    assert wer(whole["text"]) < 0.3 and 0 < len(part["text"]) < len(whole["text"])
    assert part["duration"] == pytest.approx(whole["duration"] - 2, abs=0.1) and part["segments"][0]["words"]
    assert left_over() == []


def test_an_address_that_is_not_open(address, media, monkeypatch):
    monkeypatch.delenv("LINK_ALLOW_LOOPBACK")
    monkeypatch.setenv("ALLOWED_HOSTS", "*")  # as on one's own machine
    for name, argument in (("transcribe", "audio"), ("transcribe_link", "link"), ("compare_test_set", "archive")):
        refused = call(address, name, **{argument: f"{media}/{SOUND.name}"})
        assert refused.isError and "private address" in text_of(refused)


def test_a_comparison(address):
    found = call(address, "compare", audio=str(SOUND), reference=ITALIAN.text, language="it")
    base, tuned = found.structuredContent["sides"]
    assert base["reference_words"] == tuned["reference_words"] > 5
    assert tuned["wer"] == pytest.approx(word_errors(ITALIAN.text, tuned["text"], "it").wer)
    assert base["checkpoint"] == "embedded:whisper-base" and "too short to tell" in text_of(found)
    same = call(address, "compare", audio=str(SOUND), language="it", base="fine-tuned", fine_tuned="fine-tuned")
    assert [side["checkpoint"] for side in same.structuredContent["sides"]] == ["embedded:whisper-base-it"] * 2
    between = call(address, "compare", audio=str(SOUND), language="it").structuredContent
    assert between["sides"][0]["wer"] is None and between["verdict"].startswith("The two texts")


def test_a_test_set(address, tmp_path):
    files, rows = dict(list(italian().items())[:2]), references()[:2]
    archive = packed(tmp_path, {**files, "clips.csv": table(rows)})
    for given in (str(archive), as_data_url(archive, "application/zip")):
        found = call(address, "compare_test_set", archive=given, language="it")
        answer = found.structuredContent
        assert answer["n_clips"] == len(answer["clips"]) == len(rows) == 2 and answer["n_clips_left_out"] == 0
        assert [score["name"] for score in answer["scores"]] == ["Base", "Fine-tuned"]
        assert answer["verdict"] == "too short to tell" and "Too short to tell" in text_of(found)
    with serves(tmp_path) as media, pytest.MonkeyPatch.context() as patch:
        patch.setenv("LINK_ALLOW_LOOPBACK", "1")
        patch.setenv("ALLOWED_HOSTS", media.removeprefix("http://"))
        again = call(address, "compare_test_set", archive=f"{media}/{archive.name}", language="it").structuredContent
    assert again["scores"][0]["wer"] == answer["scores"][0]["wer"] and left_over() == []


def test_which_models_there_are(address):
    found = call(address, "models").structuredContent
    known = [(model["role"], model["languages"]) for model in found["models"]]
    assert known == [("base", None), ("fine-tuned", ["it"])]
    assert found["local_files"] and found["max_bytes"] == 300_000_000


@pytest.mark.parametrize(("name", "arguments", "expected"), [
    ("transcribe", {}, "`audio` is missing.*full path"),
    ("transcribe", {"audio": ""}, "`audio` is missing"),
    ("transcribe", {"audio": "<b>clip.mp3"}, "no full path.*Got: <b>clip"),
    ("transcribe", {"audio": "/nowhere/at/all/clip.mp3"}, r"no such file. Got: clip\.mp3"),
    ("transcribe", {"audio": str(DATA / "clips.csv")}, r"not a sound or video file.*Got: clips\.csv"),
    ("transcribe", {"audio": "data:audio/flac;base64,???"}, "data URL cannot be read"),
    ("transcribe", {"audio": "https://localhost/x.mp3"}, "private address|not allowed"),
    ("transcribe", {"audio": str(SOUND), "beam_size": 99}, "`beam_size` cannot be used. Got: 99.*1 to 10"),
    ("transcribe", {"audio": str(SOUND), "task": "sing"}, "`task` cannot be used. Got: sing.*translate"),
    ("transcribe", {"audio": str(SOUND), "language": "klingonish"}, "no such language"),
    ("transcribe", {"audio": str(SOUND), "voice": "deep"}, "no such parameter. Got: voice"),
    ("transcribe_link", {"link": "file:///etc/passwd"}, "http and https"),
    ("transcribe_link", {"link": "https://youtu.be/dQw4w9WgXcQ", "start": "soon"}, "not a time. Got: soon"),
    ("compare", {"audio": str(SOUND), "base": "no/such thing"}, "names no checkpoint"),
    ("compare_test_set", {}, "neither"),
    ("stop", {}, "no such tool.*transcribe"),
])
def test_what_cannot_be_done_is_reported_in_a_sentence(address, name, arguments, expected):
    found = call(address, name, **arguments)
    message = text_of(found)
    assert found.isError and found.structuredContent is None
    assert re.search(expected, message), message
    for unwanted in ("Traceback", "&lt;", "&#", "validation error", "pydantic", str(DATA), str(temporary_root())):
        assert unwanted not in message


def test_a_path_is_read_on_ones_own_machine_only(tmp_path):
    assert reads_own_files({}) and reads_own_files({"GRADIO_SERVER_NAME": "localhost"})
    for environment in ({"GRADIO_SERVER_NAME": "0.0.0.0"}, {"SPACE_ID": "me/app"}, {"LOCAL_FILES": "0"},
                        {"ALLOWED_ORIGINS": "speech.example.org"}, {"GRADIO_SERVER_NAME": "192.168.1.5"}):
        assert not reads_own_files(environment), environment
    elsewhere = Files(Limits(), own=False)
    for path in (SOUND, tmp_path / "not there.mp3", "/etc/passwd", SOUND.as_uri(), "~/clip.mp3", "../../etc/passwd"):
        with pytest.raises(UserError, match="means nothing to this server"), elsewhere.opened(str(path), Job()):
            pass


def test_a_data_url_has_the_limit_of_a_file():
    small = Files(Limits(max_bytes=1000), own=False)
    with pytest.raises(UserError, match="too large"), small.opened(as_data_url(SOUND), Job()):
        pass


def test_other_names_are_refused_as_everywhere(address):
    for headers in ({"host": "rebound.example"}, {"origin": "https://elsewhere.example"}, {"origin": "null"}):
        assert httpx.post(f"{address}/mcp", headers=headers, json={}).status_code == 403
    assert httpx.post(f"{address}/mcp", content=bytes(33_000_000)).status_code == 413


def test_gradio_fetches_no_address_for_an_endpoint(address, media, monkeypatch):
    """An address goes the guarded way, in whatever form it comes."""
    monkeypatch.delenv("LINK_ALLOW_LOOPBACK")
    with pytest.raises(AppError, match="private address"):
        Client(address, verbose=False).predict(audio=handle_file(f"{media}/{SOUND.name}"), api_name="/transcribe")
