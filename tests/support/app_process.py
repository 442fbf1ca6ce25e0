"""An app.py run as a Space runs it, in a process of its own, with a client of it."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

from page_client import PageClient


@contextlib.contextmanager
def serving(python: Path | str, folder: Path, env: dict[str, str]) -> Iterator[PageClient]:
    """Run the folder's app.py until the end of the body, with a client of it."""
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        port = place.getsockname()[1]
    env = env | {"GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": str(port)}
    process = subprocess.Popen([python, "app.py"], cwd=folder, env=env, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True)
    watch = threading.Timer(300, process.kill)
    watch.start()
    lines: list[str] = []
    try:
        for line in process.stdout:
            lines.append(line)
            if f":{port}" in line:
                break
        assert process.poll() is None and lines, "".join(lines)
        threading.Thread(target=process.stdout.read, daemon=True).start()  # so that it never waits for a reader
        yield PageClient(f"http://127.0.0.1:{port}", verbose=False)
    finally:
        watch.cancel()
        process.terminate()
        process.wait(30)
