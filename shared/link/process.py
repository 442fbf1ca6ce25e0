"""The process in which YouTube is asked, both its sides.

`ask_youtube` starts it (`python -m shared.link.process`), hands it a job as one line of JSON and passes on its
events; `main` is what runs inside. A process of its own, since neither yt-dlp nor pytubefix can be interrupted
while it waits or runs YouTube's JavaScript, and since there every connection they make, redirects included, is held
to YouTube's hosts at public addresses. This module knows nothing of what the jobs do.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from shared.errors import Cancelled
from shared.link import hosts as link_hosts
from shared.link.media import Progress
from shared.link.reasons import link_error
from shared.system import processes
from shared.units import spoken_time

# What YouTube's pages, players and media come from. Suffixes: the media servers have thousands of names.
HOSTS = (*link_hosts.YOUTUBE, "googlevideo.com", "ytimg.com", "ggpht.com", "google.com", "googleapis.com",
         "gstatic.com")
SOCKET_SECONDS = 10
TAIL_BYTES = 2000  # of its messages, for the log
LIMITS = processes.Limits(memory=2 << 30, written=4 << 30)  # YouTube's JavaScript; the sound of many hours
PASSED_ON = ("VIRTUAL_ENV", *processes.NETWORK)

log = logging.getLogger(__name__)


def ask_youtube(job: dict[str, Any], seconds: float, cancel: threading.Event, progress: Progress | None = None) -> Any:
    """Have `shared.link.youtube.run` do a job in a process of its own; returns its result.

    Raises what it refused as UserError, or Cancelled; the process and all it started are gone in every case.
    """
    _check_network()
    job = _with_cookies(job)
    with _process(Path(job["folder"])) as (child, lines):
        stdin = child.process.stdin
        assert stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it ended at once: seen below, where it writes no event
            stdin.write(json.dumps(job).encode() + b"\n")
            stdin.flush()
        for event in _events(lines, seconds, cancel):
            if "result" in event:
                return event["result"]
            if "refused" in event:
                kind, got, limit = event["refused"]
                level = logging.WARNING if kind == "failed" else logging.INFO
                log.log(level, "%s refused (%s): %s", job["video"], kind, child.messages(TAIL_BYTES))
                raise link_error(kind, got=got, limit=limit)
            if progress is not None:
                progress(*event["progress"])
        raise RuntimeError(f"shared.link.process ended early: {child.messages(TAIL_BYTES)}")


def _with_cookies(job: dict[str, Any]) -> dict[str, Any]:
    """The job with a copy of YOUTUBE_COOKIES in its folder: yt-dlp writes the changed cookies back.

    On a Space visitors ask with the cookies of its owner, so videos that only the owner may see are not theirs.
    """
    cookies = os.environ.get("YOUTUBE_COOKIES")
    if not cookies:
        return job
    if not Path(cookies).is_file():
        raise link_error("cookies", got=cookies)
    copy = Path(job["folder"], "cookies.txt")
    copy.touch(mode=0o600)
    return {**job, "cookies": str(shutil.copyfile(cookies, copy)), "public_only": bool(os.environ.get("SPACE_ID"))}


def _events(lines: queue.SimpleQueue[bytes], seconds: float, cancel: threading.Event) -> Iterator[dict[str, Any]]:
    """What the process reports until it ends. Raises UserError after so many seconds, or Cancelled."""
    deadline = time.monotonic() + seconds
    while True:
        if cancel.is_set():
            raise Cancelled
        if time.monotonic() > deadline:
            raise link_error("slow", got=spoken_time(seconds))
        try:
            line = lines.get(timeout=0.1)
        except queue.Empty:
            continue
        if not line:
            return
        yield json.loads(line)


def _check_network() -> None:
    """Find out within seconds whether YouTube can be reached at all; the libraries would try again and again."""
    proxy = urlsplit(urllib.request.getproxies().get("https", ""))
    if proxy.hostname:
        return  # whether it answers is for the libraries to find out: it may stand at a private address
    link_hosts.connect("www.youtube.com", 443).close()


@contextlib.contextmanager
def _process(folder: Path) -> Iterator[tuple[processes.Child, queue.SimpleQueue[bytes]]]:
    """(child, queue of its lines). It and what it started, Node too, are gone afterwards."""
    root = Path(__file__).resolve().parents[2]
    path = os.pathsep.join(filter(None, (str(root), os.environ.get("PYTHONPATH"))))
    # No token of ours is within reach of YouTube's JavaScript, no home folder, no plugins of yt-dlp.
    extra = {name: os.environ[name] for name in PASSED_ON if name in os.environ} | {
        "PYTHONPATH": path, "HOME": str(folder), "TMPDIR": str(folder), "YTDLP_NO_PLUGINS": "1",
        "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, "-P", "-m", "shared.link.process"]
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    with processes.running(command, LIMITS, cwd=folder, stdin=subprocess.PIPE, extra=extra) as child:
        stdout = child.process.stdout
        assert stdout is not None
        reader = threading.Thread(target=_read_lines, args=(stdout, lines.put), daemon=True)
        reader.start()
        try:
            yield child, lines
        finally:
            child.kill()
            reader.join()


def _read_lines(pipe: IO[bytes], put: Callable[[bytes], None]) -> None:
    for line in pipe:
        put(line)
    put(b"")


def main() -> None:
    """Inside the process: one job from stdin, events to stdout, the last of them a result or a refusal."""
    from shared.link.youtube import Refused, run

    job = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever the libraries print must not mix with the events

    def emit(**event: object) -> None:
        out.write(json.dumps(event) + "\n")
        out.flush()

    guard_sockets()
    socket.setdefaulttimeout(SOCKET_SECONDS)
    try:
        emit(result=run(job, lambda fraction, text: emit(progress=[fraction, text])))
    except Refused as refused:
        emit(refused=[refused.kind, refused.got, refused.limit])


def guard_sockets() -> None:
    """From here on this process resolves YouTube's names only and connects to public addresses only.

    An audit hook sees every look-up and connection of whatever library, after the name became an address; it
    cannot be taken off again. The proxy that the environment names, if any, is allowed too.
    """
    named = [urlsplit(url) for url in urllib.request.getproxies().values() if "//" in url]
    proxies = {url.hostname: url.port or 80 for url in named if url.hostname}
    proxy_addresses = {found[4][:2] for host, port in proxies.items()
                       for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "socket.getaddrinfo":
            host = arguments[0].decode() if isinstance(arguments[0], bytes) else arguments[0]
            if host not in proxies and not any(f".{host}".endswith(f".{name}") for name in HOSTS):
                raise OSError(f"refused by the address guard: {host}")
        elif event == "socket.connect" and arguments[0].family in (socket.AF_INET, socket.AF_INET6):
            address = arguments[1]
            if tuple(address[:2]) in proxy_addresses:
                return
            try:
                allowed = link_hosts.may_connect(address[0])
            except ValueError:  # a name, which the system would resolve behind our back
                allowed = False
            if not allowed:
                raise OSError(f"refused by the address guard: {address[0]}")

    sys.addaudithook(audit)


def _end_with_parent() -> None:
    """Our stdin closes when the parent dies: then nobody waits for this any more."""
    while os.read(0, 1):  # not sys.stdin: a thread that waits in it makes Python's own end fail
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
