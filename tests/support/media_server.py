"""A web server on loopback with one folder of media files, for links that lead to real ones."""

from __future__ import annotations

import functools
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

from shared.audio import ffmpeg_executable, probe


def video_of(clip: Path, path: Path) -> Path:
    """A real mp4: a test picture, and a clip's speech."""
    subprocess.run([ffmpeg_executable(), "-v", "error", "-y", "-f", "lavfi", "-i", "testsrc=size=160x120:rate=5", "-i",
                    str(clip), "-t", str(probe(clip).duration), "-movflags", "+faststart", str(path)], check=True)
    return path


@contextmanager
def serves(folder: Path) -> Iterator[str]:
    """The address under which the files of `folder` are, inside the `with`; `address/slow/NAME` drips for ever."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        _Handler.closing.set()
        server.shutdown()
        server.server_close()
        _Handler.closing.clear()


class _Handler(SimpleHTTPRequestHandler):
    closing = threading.Event()

    def do_GET(self) -> None:
        if not self.path.startswith("/slow/"):
            super().do_GET()
            return
        data = Path(self.directory, unquote(self.path.removeprefix("/slow/"))).read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", "video/mp4")
        self.send_header("Content-Length", str(len(data) + 10_000))
        self.end_headers()
        try:
            self.wfile.write(data)
            while not self.closing.wait(0.05):
                self.wfile.write(b"\0")
        except OSError:
            pass

    def log_message(self, *args) -> None:
        pass
