"""From pages to a running app: one queue, the limits, the temporary folders, the address.

Enters: the pages to show. Leaves: an app that serves until it is stopped. Knows nothing of what the pages do.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from starlette.middleware import Middleware

from shared.api import KnownNames, Settings, served_names
from shared.errors import UserError
from shared.serving import Limits, Serving, serving, unload_minutes
from shared.ui import RESULTS
from shared.ui.server import jobs, kept, live_sessions, received, remote_files, sign_in
from shared.ui.server.theme import ICON, STYLES, head, pictures, theme
from shared.ui.server.uploads import Uploads, room_for_file
from shared.ui.server.visitors import WatchConnections, visitor_of
from shared.ui.tools.endpoints import endpoints
from shared.ui.tools.files import reads_own_files
from shared.ui.tools.programs import Programs, programs

# Gradio begins no more events at once than it has threads, and lets the others wait unseen; here all of them begin, and
# wait in `jobs.queue`, which says so. The events of a job only wait, and take no thread.
MAX_EVENTS = 200
SPACE_SECONDS = 3600  # a shared machine's limits; one's own has none but MAX_MB
SPACE_MB, OWN_MB = 500, 4000
HEAD_START_SECONDS = 1.0  # for the first page, before models take the processor
TOTAL = 4  # times the largest file: what may lie here at once, where MAX_TOTAL_MB does not say
_printed: set[str] = set()  # by `_on_stderr`


@dataclass(frozen=True)
class Page:
    """title: in the navigation. path: in the address. render: draws it into the open Blocks.

    about: what one can do there, on the front page's card.
    """

    title: str
    path: str
    render: Callable[[Any], None]
    about: str = ""


def launch(title: str, pages: Sequence[Page]) -> None:
    """Load the checkpoints, say where the app listens, and serve until stopped.

    Environment: GRADIO_SERVER_NAME, GRADIO_SERVER_PORT, ALLOWED_ORIGINS (names the app answers to besides its own),
    MAX_MINUTES and MAX_MB of a recording and MAX_TOTAL_MB of all that visitors have sent (0: no limit),
    API_KEY (what clients of /v1 and /mcp must send, see docs/api.md), LOCAL_FILES=0 (programs may name no path of this
    machine), UNLOAD_MINUTES (after which an unused model leaves memory, 0: never; see `unload_minutes`), ALLOWED_HOSTS
    (see shared.link; on one's own machine any public host), ALLOWED_CHECKPOINTS (Hub ids that compare may load,
    separated by spaces; on one's own machine any; `*` on a Space with `hf_oauth`: whatever the account of a visitor
    who signed in may read), ALLOWED_DATASETS, BROWSER_PAGE (the page without a server that the front page offers).
    What is in the last two lists is read with this machine's Hub token; nothing else that a visitor names is.
    """
    on_space = bool(os.environ.get("SPACE_ID"))
    max_seconds = 60 * float(os.environ.get("MAX_MINUTES") or (SPACE_SECONDS / 60 if on_space else 0)) or None
    max_mb = float(os.environ.get("MAX_MB") or (SPACE_MB if on_space else OWN_MB))
    max_bytes = int(max_mb * 1e6) or None
    checkpoints, datasets = (tuple(os.environ.get(name, "").replace(",", " ").split())
                             for name in ("ALLOWED_CHECKPOINTS", "ALLOWED_DATASETS"))
    named = tuple(name for name in checkpoints if name != sign_in.ANY)
    limits = Limits(max_seconds, max_bytes, named if on_space else None, sign_in.is_offered(),
                    tuple(name.partition("@")[0] for name in named), datasets)
    try:
        minutes, served = unload_minutes(), serving(limits, _on_stderr)
        announce(served)
        if reads_own_files():
            os.environ.setdefault("ALLOWED_HOSTS", "*")  # its user may open any public address anyway
        demo = build(title, pages, served)
    except UserError as error:
        sys.exit(str(error))
    threading.Thread(target=_load_behind, args=(served, demo, minutes), name="load", daemon=True).start()
    max_total = int(float(os.environ.get("MAX_TOTAL_MB") or max_mb * TOTAL) * 1e6) or None
    start(demo, max_bytes=max_bytes, max_total_bytes=max_total, server_name="0.0.0.0" if on_space else "127.0.0.1",
          api=programs(served, Settings(os.environ.get("API_KEY") or None, visitor_of)))


def announce(served: Serving) -> None:
    """Say which checkpoints are in use and, so that nobody overlooks it, that the fine-tuned one is missing."""
    print(served.line(), flush=True)
    _announce_problem(served)


def _announce_problem(served: Serving) -> None:
    if served.problem:
        frame = "!" * 100
        print(f"\n{frame}\n!! {served.problem}\n{frame}\n", file=sys.stderr, flush=True)


def _load_behind(served: Serving, demo: gr.Blocks, minutes: float) -> None:
    """Bring the weights into memory once the first page can be had; a request that needs them waits for them."""
    while not demo.is_running:
        time.sleep(0.1)
    time.sleep(HEAD_START_SECONDS)
    known = served.problem
    try:
        served.load()
    except UserError as error:
        print(f"The base model cannot be loaded, so nothing can be transcribed. {error}", file=sys.stderr, flush=True)
    if served.problem != known:
        _announce_problem(served)
    served.unload_when_idle(minutes)


def build(title: str, pages: Sequence[Page], served: Serving | None) -> gr.Blocks:
    """The app, not running yet. The first page is the front page. served: None for pages that need no checkpoint."""
    first, *others = pages
    with gr.Blocks(title=title, analytics_enabled=False) as demo:
        gr.Navbar(visible=bool(others), main_page_name=first.title)
        first.render(served)
        demo.unload(_leave)
        if served is not None:
            endpoints(served, reads_own_files())
    for page in others:
        with demo.route(page.title, f"/{page.path}"):
            gr.Navbar(visible=True, main_page_name=first.title)
            page.render(served)
            demo.unload(_leave)
    # api_open: whether a program may go past the queue.
    return demo.queue(default_concurrency_limit=None, max_size=MAX_EVENTS, api_open=False)


def start(demo: gr.Blocks, *, max_bytes: int | None, max_total_bytes: int | None = None,
          server_name: str = "127.0.0.1", api: Programs | None = None, block: bool = True) -> str:
    """Serve a built app.

    Args:
        demo: of `build`.
        max_bytes: of one file; None for any.
        max_total_bytes: of all that visitors have sent and that is still here; None for any.
        server_name: where to listen, unless GRADIO_SERVER_NAME says.
        api: what programs call at the same address.
        block: until the app is stopped.

    Returns:
        The app's address.
    """
    kept.open_folders()
    remote_files.guard(lambda: room_for_file(max_bytes, max_total_bytes))
    server_name = os.environ.get("GRADIO_SERVER_NAME") or server_name
    around = [Middleware(KnownNames, names=served_names(server_name), server_name=server_name),
              Middleware(WatchConnections),
              Middleware(Uploads, max_file_bytes=max_bytes, max_total_bytes=max_total_bytes)]
    _, address, _ = demo.launch(
        server_name=server_name, prevent_thread_lock=True, quiet=True,
        theme=theme(), css_paths=STYLES, head=head(demo.title or ""), footer_links=["api"],
        max_file_size=max_bytes, max_threads=MAX_EVENTS, favicon_path=ICON, allowed_paths=[str(RESULTS)],
        app_kwargs={"middleware": around, **(api.app_options if api else {})}, ssr_mode=False, show_error=False,
        mcp_server=False, share=False)
    demo.app.router.routes[:0] = [*(api.routes if api is not None else ()), *pictures().routes]
    print(f"Listening on {address}", flush=True)
    if block:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that the temporary folders go, as after Ctrl-C
        demo.block_thread()
    return address


def _leave(request: gr.Request) -> None:
    """The page is closed. Work that its visitor can find again on another page goes on for a while."""
    jobs.leave(request.session_hash)
    received.leave(request.session_hash)
    live_sessions.sessions.drop_all_of(request.session_hash)


def _on_stderr(fraction: float, text: str) -> None:
    """A line for each tenth, which reads as well in a Space's log as in a terminal."""
    line = f"{text} {int(fraction * 10) * 10} %"
    if line not in _printed:
        _printed.add(line)
        print(line, file=sys.stderr, flush=True)
