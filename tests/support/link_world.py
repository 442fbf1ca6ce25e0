"""What tests of links share: a web server on loopback that answers as it is told, a clip in many forms, refusals."""

from __future__ import annotations

import re
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from paths import DATA

from shared.audio import ffmpeg_executable
from shared.errors import UserError
from shared.link.reasons import REASONS

CLIP = DATA / "en_austen-0880.flac"
LIMITS = {"max_seconds": 60, "max_bytes": 10**7}
ID = "dQw4w9WgXcQ"


def refusal(kind: str):
    return pytest.raises(UserError, match=f"^{REASONS[kind].what}")


class MediaServer(ThreadingHTTPServer):
    """A real web server on loopback. `pages`: path -> function(handler); `asked`: paths with their Range."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pages, self.asked, self.hung_up = {}, [], threading.Event()
        self.base = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def file(self, path: str, body: bytes, kind: str = "audio/flac", ranges: bool = True) -> str:
        self.pages[path] = lambda handler: handler.send(body, kind, ranges)
        return self.base + path

    def moved(self, path: str, to: str, status: int = 302) -> str:
        self.pages[path] = lambda handler: handler.head(status, {"Location": to, "Content-Length": "0"})
        return self.base + path

    def handle_error(self, request, client_address) -> None:
        self.hung_up.set()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments) -> None:
        pass

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("Range")))
        self.server.pages[self.path.partition("?")[0]](self)

    def head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def send(self, body: bytes, kind: str, ranges: bool) -> None:
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        status, headers = 200, {"Content-Type": kind}
        if wanted and ranges:
            first, last, n_bytes = int(wanted[1]), int(wanted[2]), len(body)
            body, status = body[first : last + 1], 206
            headers["Content-Range"] = f"bytes {first}-{first + len(body) - 1}/{n_bytes}"
        self.head(status, headers | {"Content-Length": str(len(body))})
        self.wfile.write(body)


@pytest.fixture
def media(monkeypatch):
    server = MediaServer()
    monkeypatch.setenv("LINK_ALLOW_LOOPBACK", "1")
    monkeypatch.setenv("ALLOWED_HOSTS", f"127.0.0.1:{server.server_port}, localhost:{server.server_port}")
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def encoded(tmp_path_factory):
    """Function(name, *ffmpeg arguments) -> the clip, said again and again for a minute, in another form."""
    folder = tmp_path_factory.mktemp("encoded")

    def encode(name: str, *arguments: str, seconds: float = 60) -> bytes:
        path = folder / name
        if not path.exists():
            subprocess.run([ffmpeg_executable(), "-v", "error", "-stream_loop", "-1", "-i", CLIP, "-t", str(seconds),
                            *arguments, "-ac", "2", "-ar", "44100", path], check=True)
        return path.read_bytes()

    return encode
