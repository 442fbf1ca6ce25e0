"""A static Space's folder behind a web server that sends the headers its card asks for, as the Hub does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from huggingface_hub import SpaceCard


@dataclass
class StaticSpace:
    """address: of its page. asked: the path of every request, in order."""

    address: str
    asked: list[str] = field(default_factory=list)


@contextmanager
def static_space(folder: Path, headers: bool = True) -> Iterator[StaticSpace]:
    """headers=False: without the card's, as where a page stands in another site's frame."""
    wanted = SpaceCard.load(folder / "README.md").data.to_dict().get("custom_headers", {}) if headers else {}
    space = StaticSpace("")

    class Handler(SimpleHTTPRequestHandler):
        def end_headers(self) -> None:
            for name, value in wanted.items():
                self.send_header(name, value)
            super().end_headers()

        def log_message(self, *arguments: object) -> None:
            space.asked.append(self.path)

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    space.address = f"http://127.0.0.1:{server.server_port}/"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield space
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
