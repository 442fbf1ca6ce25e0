"""A direct media link, read over a guarded connection.

Enters: the address of a media file on an allowed host. Leaves: that file on disk, or what can be known of it
before fetching it. Every redirect is judged like the first address; sizes are enforced on what really arrives.
It knows nothing of YouTube, and of media only what `shared.audio.probe` says.
"""

from __future__ import annotations

import contextlib
import errno
import http.client
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

from shared.audio import MEDIA_SUFFIXES, probe
from shared.errors import Cancelled, UserError
from shared.link import hosts as link_hosts
from shared.link.hosts import Target
from shared.link.reasons import link_error, too_large
from shared.system.temporary import temporary_folder
from shared.units import megabytes

MAX_REDIRECTS = 5
READ_SECONDS = 15.0  # a server that sends nothing for so long has gone
LOOK_SECONDS = 15.0
FETCH_SECONDS = 30 * 60.0
HEAD_BYTES = 1 << 20
TAIL_BYTES = 1 << 22  # the index of an MP4 of some hours, which may be at its end
# Servers often send audio and video as plain bytes; text and playlists are never what was meant.
MEDIA_TYPES = re.compile(r"(audio|video)/(?!.*(mpegurl|scpls))|application/(octet-stream|ogg|mp4|x-matroska|mxf|"
                         r"vnd\.rn-realmedia|x-download|force-download)$|binary/octet-stream$|$")
# A zip or a table of a test set, as servers call them.
ARCHIVE_TYPES = re.compile(r"application/(zip|x-zip-compressed|octet-stream|x-download|force-download|vnd\.ms-excel)$|"
                           r"binary/octet-stream$|text/(csv|tab-separated-values|plain)$|$")

Progress = Callable[[float | None, str], None]


class _Connection(http.client.HTTPConnection):
    """An HTTP(S) connection whose socket comes from the address guard. No proxy: the check would be its, not ours."""

    def __init__(self, target: Target) -> None:
        self.secure = target.scheme == "https"
        self.default_port = 443 if self.secure else 80
        super().__init__(target.host, target.port)
        self.raw: socket.socket | None = None

    def connect(self) -> None:
        self.raw = self.sock = link_hosts.connect(self.host, self.port)
        self.sock.settimeout(READ_SECONDS)
        if self.secure:
            self.raw = self.sock = ssl.create_default_context().wrap_socket(self.sock, server_hostname=self.host)

    def interrupt(self) -> None:
        """End a read that waits in another thread."""
        if self.raw is not None:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(self.raw, socket.SHUT_RDWR)  # SSLSocket's own would pull TLS from under it


def fetch(target: Target, path: Path, *, max_bytes: int, progress: Progress, cancel: threading.Event,
          kinds: re.Pattern[str] = MEDIA_TYPES) -> None:
    """Write the media behind `target` to `path`, at most `max_bytes`. kinds: content types that are taken. Raises
    UserError or Cancelled; on either the caller's folder may hold a part of the file."""
    with _open(target, FETCH_SECONDS, cancel, kinds=kinds) as (response, _), path.open("wb") as out:
        total = response.length
        if total is not None and total > max_bytes:
            raise too_large(total, max_bytes)
        n_bytes = 0
        while block := response.read1(1 << 16):
            n_bytes += len(block)
            if n_bytes > max_bytes:
                raise too_large(None, max_bytes)
            out.write(block)
            done = megabytes(n_bytes) + (f" of {megabytes(total)}" if total else "")
            progress(min(1.0, n_bytes / total) if total else None, f"Fetching the sound: {done}")
        if total is not None and n_bytes < total:
            raise link_error("broken", got=f"{n_bytes} of {total} bytes")


def look(target: Target, cancel: threading.Event) -> tuple[str, float | None, int | None]:
    """(title, seconds or None, bytes or None) from the two ends of the file: at most two small requests.

    The ends are laid into a sparse file of the real size, as a container that keeps its index or its last time
    stamp at the end, or a bit rate times a size, tells its length only so.
    """
    with temporary_folder("link-") as folder:
        path = Path(folder, "media" + suffix_of(target))
        with path.open("wb") as out:
            with _open(target, LOOK_SECONDS, cancel, (0, HEAD_BYTES - 1)) as (response, final):
                size = _total_bytes(response)
                ranged = response.status == 206
                out.write(_read_up_to(response, HEAD_BYTES))
            if size is not None and ranged and HEAD_BYTES < size < 1 << 36:
                start = max(HEAD_BYTES, size - TAIL_BYTES)
                with _open(target, LOOK_SECONDS, cancel, (start, size - 1)) as (response, _):
                    if response.status == 206:
                        out.seek(start)
                        out.write(_read_up_to(response, size - start))
        here = path.stat().st_size
        if here == 0:
            raise link_error("not_media", got="0 bytes")
        try:
            info = probe(path)
        except UserError:
            if size is not None and size <= HEAD_BYTES:
                raise  # the file itself is to blame, not that we saw a part of it
            return _title(final), None, size
    if not info.has_audio:
        raise link_error("silent", got=_title(final))
    return _title(final), info.duration if here == size else None, size


def suffix_of(target: Target) -> str:
    """The file suffix of an address if it is one of a medium, else '.media'. The only part of a remote name that
    ever enters a path."""
    suffix = Path(urlsplit(target.path).path).suffix.lower()
    return suffix if suffix in MEDIA_SUFFIXES else ".media"


@contextlib.contextmanager
def _open(target: Target, seconds: float, cancel: threading.Event, part: tuple[int, int] | None = None,
          kinds: re.Pattern[str] = MEDIA_TYPES) -> Iterator[tuple[http.client.HTTPResponse, Target]]:
    """An answer with media in it and where it came from, after redirects. Reading it ends with `seconds`."""
    deadline = time.monotonic() + seconds
    for _ in range(MAX_REDIRECTS + 1):
        link_hosts.check_media_host(target)
        connection = _Connection(target)
        with _watched(connection, deadline, cancel):
            headers = {"User-Agent": "whisper-spaces", "Accept": "audio/*, video/*, */*;q=0.1",
                       "Accept-Encoding": "identity", "Connection": "close"}
            if part:
                headers["Range"] = f"bytes={part[0]}-{part[1]}"
            connection.request("GET", target.path, headers=headers)
            response = connection.getresponse()
            if response.status not in (301, 302, 303, 307, 308):
                _check_answer(response, target, kinds)
                with response:  # the connection alone would leave the socket open for it
                    yield response, target
                return
            target = link_hosts.read_link(urljoin(target.url, response.getheader("Location", "")))
    raise link_error("redirects", got=f"more than {MAX_REDIRECTS}")


@contextlib.contextmanager
def _watched(connection: _Connection, deadline: float, cancel: threading.Event) -> Iterator[None]:
    """Interrupt the connection when asked to or when time is up; name the reason of whatever breaks in it."""
    done = threading.Event()
    interrupted: list[Exception] = []  # an interrupted read may end as quietly as a finished one

    def watch() -> None:
        while not done.wait(0.1):
            if cancel.is_set() or time.monotonic() > deadline:
                interrupted.append(Cancelled() if cancel.is_set() else link_error("slow", got=connection.host))
                connection.interrupt()
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    broken: Exception | None = None
    try:
        yield
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise  # our disk, not their network
        broken = link_error("broken", got=f"{connection.host}: {error or type(error).__name__}"[:200])
    finally:
        done.set()
        watcher.join()
        connection.close()
        if interrupted:
            raise interrupted[0] from None
    if broken is not None:
        raise broken


def _check_answer(response: http.client.HTTPResponse, target: Target, kinds: re.Pattern[str]) -> None:
    if response.status not in (200, 206):
        raise link_error("answer", got=f"{response.status} {response.reason} from {target.host}"[:120])
    kind = response.getheader("Content-Type", "").partition(";")[0].strip().lower()
    if not kinds.match(kind):
        raise link_error("not_media" if kinds is MEDIA_TYPES else "not_archive", got=kind[:80])
    if response.getheader("Content-Encoding", "identity").lower() != "identity":
        raise link_error("answer", got=f"a packed file ({response.getheader('Content-Encoding')})"[:80])


def _total_bytes(response: http.client.HTTPResponse) -> int | None:
    """The size of the whole file, from Content-Range or Content-Length."""
    if response.status == 206:
        found = re.fullmatch(r"bytes \d+-\d+/(\d{1,15})", response.getheader("Content-Range", ""))
        return int(found[1]) if found else None
    return response.length


def _read_up_to(response: http.client.HTTPResponse, n_bytes: int) -> bytes:
    blocks = []
    while n_bytes > 0 and (block := response.read1(min(n_bytes, 1 << 16))):
        blocks.append(block)
        n_bytes -= len(block)
    return b"".join(blocks)


def _title(target: Target) -> str:
    """The last part of the address, as text to show."""
    name = unquote(urlsplit(target.path).path.rstrip("/").rpartition("/")[2])
    return re.sub(r"[\x00-\x1f\x7f<>]", "", name)[:120] or target.host
