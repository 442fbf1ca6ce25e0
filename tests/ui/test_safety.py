"""What a visitor may not do: come under another name, fill the machine; and work ends when who asked has gone."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import gradio as gr
import httpx
import pytest
from speech import clips

from shared.api import KnownNames, served_names
from shared.errors import Cancelled
from shared.serving import Serving
from shared.ui.server import jobs, messages, uploads
from shared.ui.server.launch import Page, build, start
from shared.ui.server.uploads import ARRIVING
from shared.ui.server.visitors import Presence, address_of

MARKUP = '<img src="http://evil.test/a.png" onerror="window.PWN=1"><script>window.PWN=1</script>'
MAX_FILE, MAX_TOTAL = 100_000, 250_000
ITALIAN = min((clip.path for clip in clips("it") if clip.path.suffix == ".flac"), key=lambda path: path.stat().st_size)


class Work:
    """What the page of these tests does: it waits until it is ended."""

    def __init__(self) -> None:
        self.n_begun = self.n_cancelled = 0

    def page(self, served: Serving) -> None:
        button, out = gr.Button(), gr.Textbox()
        button.click(self.wait, None, out, api_name="wait")

    async def wait(self, request: gr.Request) -> str:
        with messages.shown():
            return await jobs.awaited(jobs.submit(jobs.Asker.of(request), self._until_ended))

    def _until_ended(self, running: jobs.Job) -> str:
        self.n_begun += 1
        if running.cancel.wait(30):
            self.n_cancelled += 1
            raise Cancelled
        return "nobody ended it"

    def until(self, *, begun: int = 0, cancelled: int = 0) -> None:
        for _ in range(600):
            if self.n_begun >= begun and self.n_cancelled >= cancelled:
                return
            time.sleep(0.05)
        raise AssertionError(f"{self.n_begun} begun, {self.n_cancelled} cancelled")


@pytest.fixture(scope="module")
def running(tmp_path_factory) -> Iterator[tuple[str, Work]]:
    """An app for all these tests. Its uploads lie apart: what other tests left behind would count towards the limit."""
    work = Work()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(uploads, "UPLOADS", tmp_path_factory.mktemp("uploads"))
        demo = build("Work", [Page("Work", "work", work.page)], None)
        yield start(demo, max_bytes=MAX_FILE, max_total_bytes=MAX_TOTAL, block=False).rstrip("/"), work
        demo.close()


@pytest.fixture
def work(running, monkeypatch) -> Work:
    monkeypatch.setattr(jobs, "GONE_SECONDS", 1.0)
    _, work = running
    work.n_begun = work.n_cancelled = 0
    return work


@pytest.fixture
def app(running, work) -> str:
    """The app's address, with no uploads in its folder."""
    for folder in uploads.UPLOADS.iterdir():
        shutil.rmtree(folder)
    return running[0]


def until(is_so: Callable[[], bool]) -> None:
    for _ in range(600):
        if is_so():
            return
        time.sleep(0.05)
    raise AssertionError("it never came")


def submit(app: str) -> httpx.Response:
    return httpx.post(f"{app}/gradio_api/call/wait", json={"data": []})


def send(app: str, *contents: bytes, name: str = "clip.wav") -> httpx.Response:
    return httpx.post(f"{app}/gradio_api/upload", files=[("files", (name, data)) for data in contents])


@pytest.mark.parametrize(("headers", "status"), [
    ({}, 200), ({"Host": "localhost"}, 200), ({"Host": "localhost:9"}, 200), ({"Host": "[::1]:7860"}, 200),
    ({"Host": "evil.test"}, 403), ({"Host": "evil.test:7860"}, 403), ({"Host": "127.0.0.1.evil.test"}, 403),
    ({"Host": "192.168.1.5"}, 403), ({"Origin": "http://evil.test"}, 403), ({"Origin": "null"}, 403),
    ({"Origin": "http://localhost:3000"}, 200), ({"Origin": "https://localhost.evil.test"}, 403),
    ({"Origin": "http://203.0.113.7"}, 403), ({"Host": "evil@localhost"}, 200), ({"Host": "localhost@evil.test"}, 403),
    ({"Host": "LOCALHOST."}, 200), ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "image"}, 403),
    ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "document"}, 200),
    ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "script", "Referer": "http://localhost:3000/"}, 200),
])
def test_only_its_own_names_are_answered(app, headers, status):
    assert httpx.get(f"{app}/config", headers=headers).status_code == status
    if status == 403:
        before = set(uploads.UPLOADS.iterdir())
        assert httpx.post(f"{app}/gradio_api/upload", headers=headers, files=[("files", b"x")]).status_code == 403
        assert httpx.post(f"{app}/gradio_api/call/wait", headers=headers, json={"data": []}).status_code == 403
        assert set(uploads.UPLOADS.iterdir()) == before


@pytest.mark.parametrize(("server", "environment", "known", "unknown"), [
    ("127.0.0.1", {}, ["localhost", "127.0.0.1", "::1"], ["example.org", "192.168.1.5"]),
    ("127.0.0.1", {"ALLOWED_ORIGINS": "https://example.org, Talk.test:8080"}, ["example.org", "talk.test"], ["x.test"]),
    ("0.0.0.0", {}, ["localhost", "192.168.1.5", "fe80::1"], ["example.org"]),
    ("notes.lan", {}, ["notes.lan", "localhost", "10.0.0.3"], ["example.org"]),
    ("0.0.0.0", {"SPACE_ID": "me/app"}, ["anything.test"], []),
    ("0.0.0.0", {"SPACE_ID": "me/app", "SPACE_HOST": "me-app.hf.space", "ALLOWED_ORIGINS": "mine.test"},
     ["me-app.hf.space", "mine.test"], ["example.org"]),
    ("127.0.0.1", {"ALLOWED_ORIGINS": "*"}, ["example.org"], []),
])
def test_which_names_are_its_own(server, environment, known, unknown):
    names = served_names(server, environment)
    gate = KnownNames(None, names, server)
    assert names is None or ([gate._is_known(name) for name in (*known, *unknown)]
                             == [True] * len(known) + [False] * len(unknown))
    assert names is not None or not unknown


@pytest.mark.parametrize(("headers", "status"), [
    ({"host": "192.168.1.5:7860"}, 200), ({"host": "192.168.1.5", "origin": "http://192.168.1.5"}, 200),
    ({"host": "192.168.1.5", "origin": "http://203.0.113.7"}, 403), ({"host": "192.168.1.5", "origin": "null"}, 403),
    ({"host": "evil.test", "origin": "http://evil.test"}, 403),
])
def test_on_a_network_an_address_is_no_excuse_for_a_page_elsewhere(headers, status):
    """Anybody can show a page under a plain address of their own."""
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route
    from starlette.testclient import TestClient

    inner = Starlette(routes=[Route("/", lambda request: PlainTextResponse("here"))])
    answer = TestClient(KnownNames(inner, served_names("0.0.0.0", {}), "0.0.0.0")).get("/", headers=headers)
    assert answer.status_code == status


def test_no_page_elsewhere_shows_the_app_in_a_frame(app):
    policy = httpx.get(f"{app}/config").headers["content-security-policy"]
    assert policy.startswith("frame-ancestors 'self'") and "http://localhost:*" in policy and "evil" not in policy


def test_equal_files_of_one_upload_are_two_files(app):
    first, second = send(app, b"the same", b"the same").json()
    assert first != second and Path(first).name == Path(second).name == "clip.wav"
    Path(first).unlink()
    assert Path(second).read_bytes() == b"the same"
    other = send(app, b"the same").json()[0]
    assert other not in (first, second)


def test_uploads_that_are_never_started_have_a_total_limit(app):
    kept = [send(app, bytes(90_000)) for _ in range(2)]
    assert [response.status_code for response in kept] == [200, 200]
    assert send(app, bytes(90_000), bytes(90_000)).status_code == 413
    refused = send(app, bytes(90_000))
    assert refused.status_code == 413 and "no room" in refused.text
    assert send(app, bytes(MAX_FILE + 1)).status_code == 413
    for response in kept:
        Path(response.json()[0]).unlink()
    assert send(app, bytes(90_000)).status_code == 200
    assert not list(uploads.UPLOADS.glob(f"{ARRIVING}*"))


def test_an_upload_that_does_not_say_how_long_it_is_ends_at_the_limit(app):
    def without_end() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.wav"\r\n\r\n'
        while True:
            yield bytes(10_000)

    begun = time.monotonic()
    try:
        response = httpx.post(f"{app}/gradio_api/upload", content=without_end(), timeout=20,
                              headers={"Content-Type": "multipart/form-data; boundary=x"})
        assert response.status_code == 413
    except httpx.TransportError:
        pass  # the app closed the connection before all was sent
    assert time.monotonic() - begun < 15 and not list(uploads.UPLOADS.glob(f"{ARRIVING}*"))


def test_a_body_that_is_no_upload_is_small(app):
    assert httpx.post(f"{app}/gradio_api/call/wait", content=bytes(33_000_000)).status_code == 413


@pytest.mark.parametrize("listens", [True, False])
def test_who_has_gone_ends_their_work(app, work, listens):
    event = submit(app).json()["event_id"]
    work.until(begun=1)
    if listens:
        with httpx.stream("GET", f"{app}/gradio_api/call/wait/{event}", timeout=30):
            time.sleep(2.5)
            assert work.n_cancelled == 0, "somebody is listening"
    work.until(cancelled=1)


def test_one_visitor_does_not_fill_the_queue(app, work, monkeypatch):
    monkeypatch.setattr(jobs, "GONE_SECONDS", 60.0)
    submit(app)
    work.until(begun=1)
    for _ in range(jobs.MAX_WAITING):
        submit(app)
    until(lambda: len(jobs._active) == jobs.MAX_WAITING + 1)
    refused = httpx.get(f"{app}/gradio_api/call/wait/{submit(app).json()['event_id']}", timeout=30).text
    assert "event: error" in refused and len(jobs._active) == jobs.MAX_WAITING + 1
    monkeypatch.setattr(jobs, "GONE_SECONDS", 0.1)  # nobody waits for any of them, and none needs its turn to end
    until(lambda: not jobs._active)
    assert work.n_begun == work.n_cancelled >= 1
    submit(app)
    work.until(cancelled=work.n_cancelled + 1)


def test_presence():
    presence, begun = Presence(), time.monotonic() - 5
    assert presence.absent_seconds(("a", "b"), begun) > 4
    presence.came("b")
    presence.came("b")
    presence.went("b")
    assert presence.absent_seconds(("a", "b"), begun) == 0
    presence.went("b")
    assert presence.absent_seconds(("a", "b"), begun) < 1


def test_the_visitor_behind_a_spaces_proxy(monkeypatch):
    headers = {"x-forwarded-for": "203.0.113.7, 10.0.0.1"}
    monkeypatch.delenv("SPACE_ID", raising=False)
    assert address_of("10.9.9.9", headers) == "10.9.9.9", "anybody can send that header"
    monkeypatch.setenv("SPACE_ID", "me/app")
    assert address_of("10.9.9.9", headers) == "203.0.113.7" and address_of(None, {}) == "unknown"
