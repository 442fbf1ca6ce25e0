"""The five tools as programs use them: over MCP with its own SDK, and as endpoints with Gradio's client."""

from __future__ import annotations

import asyncio
import base64
import re
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult
from media_server import serves
from paths import DATA
from running_app import running_app
from speech import Clip, clips, joined, not_short
from testset_world import italian, packed, references, table

from shared.errors import Cancelled, UserError
from shared.serving import Limits, zero_gpu
from shared.system.temporary import temporary_root
from shared.ui.server import jobs
from shared.ui.server.jobs import Job
from shared.ui.tools.files import Files, reads_own_files
from shared.wer import word_errors

NAMES = ["transcribe", "transcribe_link", "compare", "compare_test_set", "models"]
ITALIAN, ENGLISH = clips("it")[1], clips("en")[0]
SOUND = DATA / ITALIAN.path


@pytest.fixture(scope="module")
def address() -> str:
    return running_app().address


def in_session(address: str, work: Callable[[ClientSession], Awaitable[Any]], **headers: str) -> Any:
    """What `work` gives with the SDK's own client."""
    async def run() -> Any:
        client = httpx.AsyncClient(headers=headers, timeout=300)
        async with (client, streamable_http_client(f"{address}/mcp", http_client=client) as (read, write, _),
                    ClientSession(read, write) as session):
            await session.initialize()
            return await work(session)

    return asyncio.run(run())


def call(address: str, name: str, **arguments: Any) -> CallToolResult:
    return in_session(address, lambda session: session.call_tool(name, arguments))


def text_of(found: CallToolResult) -> str:
    return "\n".join(part.text for part in found.content)


def wer(text: str, clip: Clip = ITALIAN) -> float:
    return word_errors(clip.text, text, clip.language).wer


def as_data_url(path: Path, kind: str = "audio/flac") -> str:
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def upload(address: str, path: Path) -> str:
    return httpx.post(f"{address}/gradio_api/upload", files=[("files", (path.name, path.read_bytes()))]).json()[0]


def left_over() -> list[Path]:
    return list(temporary_root().glob("tool-*"))


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


def test_the_client_is_told_how_far_its_call_is(address, tmp_path):
    messages: list[str | None] = []

    async def work(session: ClientSession) -> CallToolResult:
        async def tell(progress: float, total: float | None, message: str | None) -> None:
            messages.append(message)

        return await session.call_tool("transcribe", {"audio": str(long(tmp_path, 2)), "language": "it"},
                                       progress_callback=tell)

    assert not in_session(address, work).isError
    assert any(message.startswith("passage ") for message in messages)


def long(folder: Path, times: int = 6) -> Path:
    from corpora import wav

    (folder / "long.wav").write_bytes(wav(joined([clip.path for clip in clips("it")] * times, pause=1.0).samples))
    return folder / "long.wav"


def test_a_client_that_leaves_ends_its_work(address, tmp_path):
    """Whether it cancels the call, closes its session, or is simply gone."""
    sound, seen = str(long(tmp_path)), []

    async def leave(session: ClientSession) -> None:
        asking = asyncio.ensure_future(session.call_tool("transcribe", {"audio": sound, "beam_size": 5}))
        while not any(one.text for one in jobs._active):
            await asyncio.sleep(0.05)
        seen.extend(jobs._active)
        asking.cancel()

    begun = time.monotonic()
    in_session(address, leave)
    while jobs._active:
        assert time.monotonic() - begun < 15, "its work goes on"
        time.sleep(0.05)
    assert seen[0].cancel.is_set() and isinstance(seen[0].problem, Cancelled)
    assert wer(call(address, "transcribe", audio=str(SOUND), language="it").structuredContent["text"]) < 0.3
    assert left_over() == []


def test_calls_from_several_clients_wait_for_one_another(address):
    texts: list[str] = []
    asking = [threading.Thread(target=lambda: texts.append(
        call(address, "transcribe", audio=str(SOUND), language="it").structuredContent["text"])) for _ in range(3)]
    for one in asking:
        one.start()
    for one in asking:
        one.join()
    assert len(texts) == 3 and len(set(texts)) == 1


def test_pages_tools_endpoints_and_openais_routes_wait_in_one_queue(address, tmp_path):
    """Each of them once, behind a page's job: none begins before it is over, and then they come in their order."""
    gate, done, messages = threading.Event(), [], []
    padded = tmp_path / "padded.wav"  # what is shorter does not wait for it
    not_short(padded, SOUND)
    page = jobs.submit(jobs.Asker("page", "10.0.0.1", "owner", "upload"), lambda running: gate.wait(60))

    async def tell(progress: float, total: float | None, message: str | None) -> None:
        messages.append(message)

    def by_mcp() -> None:
        found = in_session(address, lambda session: session.call_tool(
            "transcribe", {"audio": str(padded), "language": "it"}, progress_callback=tell))
        done.append(("mcp", found.structuredContent["text"]))

    def by_openai() -> None:
        with padded.open("rb") as file:
            answer = httpx.post(f"{address}/v1/audio/transcriptions", files={"file": file},
                                data={"model": "whisper-1", "language": "it"}, timeout=300)
        done.append(("openai", answer.json()["text"]))

    def by_endpoint() -> None:
        found = Client(address, verbose=False).predict(str(padded), language="it", api_name="/transcribe")
        done.append(("endpoint", found["text"]))

    asking = []
    for number, ask in enumerate((by_mcp, by_openai, by_endpoint), 1):
        asking.append(threading.Thread(target=ask))
        asking[-1].start()
        until(lambda number=number: len(jobs.queue._waiting) == number)
    time.sleep(1.0)
    assert not done and len(jobs.queue._begun) == 1 and messages[-1] == "waiting for 1 before you"
    gate.set()
    for one in asking:
        one.join(120)
    assert [name for name, _ in done] == ["mcp", "openai", "endpoint"] and page.outcome() is True
    assert len({text for _, text in done}) == 1


def test_what_is_short_waits_for_no_long_one(address, tmp_path):
    gate = threading.Event()
    page = jobs.submit(jobs.Asker("page", "10.0.0.1", "owner", "upload"), lambda running: gate.wait(120))
    try:
        texts = [call(address, "transcribe", audio=str(SOUND), language="it").structuredContent["text"],
                 Client(address, verbose=False).predict(handle_file(str(SOUND)), language="it",
                                                        api_name="/transcribe")["text"]]
    finally:
        gate.set()
    assert texts[0] == texts[1] and wer(texts[0]) < 0.3
    assert not page.problem


@pytest.fixture
def gpus(monkeypatch) -> Iterator[list[dict[str, str]]]:
    """ZeroGPU without a GPU: what the client of `spaces` asks the machine's scheduler, which has none to give.

    What is around a function there needs a Space's drivers; `scheduled` asks as it does.
    """
    from spaces.utils import gradio_request_var
    from spaces.zero import client as zero_client

    def scheduled(*given: Any) -> None:
        zero_client.schedule(task_id=1, request=gradio_request_var().get(None),
                             duration=timedelta(seconds=zero_gpu._gpu_seconds(*given)))

    asked: list[dict[str, str]] = []

    class Scheduler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(dict(parse_qsl(urlsplit(self.path).query)))
            self.send_response(503)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Scheduler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(zero_client.Config, "zero_device_api_url", f"http://127.0.0.1:{server.server_address[1]}")
        monkeypatch.setattr(zero_gpu, "ON_ZERO_GPU", True)
        monkeypatch.setattr(zero_gpu, "_recognise_on_gpu", scheduled)
        monkeypatch.setattr(zero_gpu, "_detect_on_gpu", scheduled)
        yield asked
        server.shutdown()


def test_on_zero_gpu_each_way_of_asking_uses_the_quota_of_who_asks(address, gpus):
    """And says in words why there is no GPU."""
    token, stranger = (f"e30.{base64.urlsafe_b64encode(body).decode().rstrip('=')}.x" for body in (b"{}", b'{"a": 1}'))

    def openai(stream: bool, token: str) -> str:
        with SOUND.open("rb") as file:
            return httpx.post(f"{address}/v1/audio/transcriptions", files={"file": file}, timeout=300,
                              headers={"x-ip-token": token}, data={"language": "it", "stream": str(stream)}).text

    def mcp() -> str:
        return text_of(in_session(address, lambda session: session.call_tool(
            "transcribe", {"audio": str(SOUND), "language": "it"}), **{"x-ip-token": token}))

    def endpoint() -> str:
        with pytest.raises(AppError) as raised:
            Client(address, verbose=False, headers={"x-ip-token": token}).predict(
                str(SOUND), language="it", api_name="/transcribe")
        return str(raised.value)

    asking = [mcp, endpoint, lambda: openai(False, token), lambda: openai(True, token),
              lambda: openai(False, stranger)]
    for ask, owner in zip(asking, [token] * 4 + [stranger], strict=True):
        assert "No GPU was available" in ask()
        assert gpus.pop()["token"] == owner and not gpus


def until(is_so: Callable[[], bool]) -> None:
    begun = time.monotonic()
    while not is_so():
        assert time.monotonic() - begun < 60
        time.sleep(0.02)


# the same as endpoints of the app's own API


@pytest.fixture
def client(address) -> Client:
    return Client(address, verbose=False)


def test_the_endpoints_are_the_tools_and_nothing_else_is_listed(client):
    named = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert list(named) == [f"/{name}" for name in NAMES]
    for name, endpoint in named.items():
        needed = [one["parameter_name"] for one in endpoint["parameters"] if not one["parameter_has_default"]]
        assert needed == {"/transcribe": ["audio"], "/transcribe_link": ["link"], "/compare": ["audio"]}.get(name, [])
        assert [one["label"] for one in endpoint["returns"]] == ["result"]
        assert all(len(one["python_type"]["description"]) > 20 for one in endpoint["parameters"])


def test_nothing_but_the_sound_must_be_given(client):
    found = client.predict(handle_file(str(SOUND)), api_name="/transcribe")
    assert found["language"] == "it" and wer(found["text"]) < 0.3
    compared = client.predict(audio=handle_file(str(SOUND)), reference=ITALIAN.text, api_name="/compare")
    assert [side["name"] for side in compared["sides"]] == ["Base", "Fine-tuned"]
    assert client.predict(api_name="/models")["models"][0]["role"] == "base"


def test_an_endpoint_says_what_is_wrong(client):
    with pytest.raises(AppError, match=r"no such file. Got: <i>\.mp3"):
        client.predict(audio="/nowhere/<i>.mp3", api_name="/transcribe")
    with pytest.raises(AppError, match="`beam_size` cannot be used"):
        client.predict(audio=str(SOUND), beam_size=0, api_name="/transcribe")


def test_gradio_fetches_no_address_for_an_endpoint(client, media, monkeypatch):
    """An address goes the guarded way, in whatever form it comes."""
    monkeypatch.delenv("LINK_ALLOW_LOOPBACK")
    with pytest.raises(AppError, match="private address"):
        client.predict(audio=handle_file(f"{media}/{SOUND.name}"), api_name="/transcribe")
