"""A link in, a local audio file out, within limits.

Enters: the address of a YouTube video, or of a media file on a host that ALLOWED_HOSTS names. Leaves: what there
is to know before work starts (`look`), the sound as a file (`download`), and captions written by people
(`human_captions`). It refuses every other host and every private address, redirects included, keeps nothing on
disk when it fails, and decodes nothing: the caller cuts out the part it wants with `shared.audio`.

Environment: ALLOWED_HOSTS and LINK_ALLOW_LOOPBACK (see `shared.link.hosts`); YOUTUBE_COOKIES, the path of a
cookies.txt (Netscape form) of a signed-in browser, for a server that YouTube takes for a robot; HTTPS_PROXY, for
YouTube only; SSL_CERT_FILE.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from shared.audio import MEDIA_SUFFIXES, probe
from shared.errors import UserError
from shared.link import hosts as link_hosts
from shared.link import media as link_media
from shared.link.hosts import Target
from shared.link.media import Progress
from shared.link.process import ask_youtube
from shared.link.reasons import link_error, too_large
from shared.system.temporary import temporary_folder
from shared.units import parse_time, spoken_time

LOOK_SECONDS = 90.0
DOWNLOAD_SECONDS = 30 * 60.0
PICTURE_HOSTS = ("ytimg.com", "ggpht.com", "img.youtube.com")


@dataclass(frozen=True)
class Caption:
    """A caption track of a video.

    Attributes:
        language: its code as the site writes it.
        human: written by people; otherwise a program recognised it, and a score against it would compare two programs,
            so it is never offered as a reference.
    """

    language: str  # as the site names it: 'sv', 'pt-BR'
    human: bool


@dataclass(frozen=True)
class LinkInfo:
    """What is known of a link before anything is fetched.

    Attributes:
        title: as the site writes it.
        duration: seconds, None if unknown.
        thumbnail: an https address of YouTube's, or None.
        start: seconds; the one in the link (&t=…), 0 without one.
        live: still running, so `download` will refuse.
        captions: tracks there are.
        size: bytes of the sound, None if unknown.
    """

    title: str
    duration: float | None
    thumbnail: str | None = None
    start: float = 0.0
    live: bool = False
    captions: tuple[Caption, ...] = ()
    size: int | None = None

    @property
    def reference_languages(self) -> tuple[str, ...]:
        """Languages in which `human_captions` has a text fit to score against."""
        return tuple(caption.language for caption in self.captions if caption.human)


@dataclass(frozen=True)
class Part:
    """Which part of a recording will be used.

    Attributes:
        start: seconds; None: from its beginning.
        end: seconds; None: to its end.
    """

    start: float | None = None
    end: float | None = None

    @property
    def first(self) -> float:
        """Seconds at which it begins."""
        return 0.0 if self.start is None else self.start

    def check(self) -> None:
        """Refuse times that are none.

        Raises:
            UserError: a time is negative or no number, or the end is not after the start.
        """
        first, end = self.first, self.end
        if not math.isfinite(first) or first < 0 or (end is not None and not first < end < math.inf):
            raise link_error("part", got=f"from {first:g} s" + (f" to {end:g} s" if end is not None else ""))


WHOLE = Part()


@dataclass(frozen=True)
class Video:
    """A YouTube video; nothing else of its link goes further than this.

    Attributes:
        id: its 11 characters.
        start: seconds at which the link starts.
    """

    id: str
    start: float


def look(link: str, *, cancel: threading.Event | None = None) -> LinkInfo:
    """Title, length, picture, start and captions of what is behind a link.

    Args:
        link: address of a YouTube video, or of a media file on a host that ALLOWED_HOSTS names.
        cancel: set from another thread; ends the work within about a second.

    Returns:
        What the other side says of it; nothing is fetched.

    Raises:
        UserError: the link is refused, or cannot be reached.
        Cancelled: `cancel` was set.
    """
    cancel = cancel or threading.Event()
    where = parse_link(link)
    if isinstance(where, Target):
        title, duration, size = link_media.look(where, cancel)
        return LinkInfo(title, duration, size=size)
    with _job_folder(None) as folder:
        found = ask_youtube({"action": "look", "video": where.id, "folder": str(folder)}, LOOK_SECONDS, cancel)
    duration = float(found["duration"]) if found["duration"] else None
    captions = tuple(Caption(language, human) for language, human in found["captions"])
    return LinkInfo(found["title"], duration, _picture(found["thumbnail"]), where.start, found["live"], captions,
                    found["size"])


def download(
    link: str,
    folder: str | os.PathLike,
    *,
    part: Part = WHOLE,
    max_seconds: float,
    max_bytes: int,
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
) -> Path:
    """Fetch the sound behind a link into `folder` as it is, without re-encoding.

    The whole recording is fetched. The name is ours, never the remote's.

    Args:
        link: address of a YouTube video, or of a media file on a host that ALLOWED_HOSTS names.
        folder: where the file goes; it must exist.
        part: what will be used of the recording.
        max_seconds: the longest such part, in seconds.
        max_bytes: the largest file.
        progress: called a few times a second with (fraction 0 … 1, or None; message).
        cancel: set from another thread; ends everything within about a second.

    Returns:
        The file, to be removed by the caller.

    Raises:
        UserError: the link is refused, cannot be reached, or is beyond a limit. Nothing is left in `folder` then.
        Cancelled: `cancel` was set. Nothing is left either.
    """
    cancel, progress = cancel or threading.Event(), _at_times(progress)
    where = parse_link(link)
    part.check()
    with _job_folder(folder) as job_folder:
        if isinstance(where, Target):
            file = job_folder / ("sound" + link_media.suffix_of(where))
            link_media.fetch(where, file, max_bytes=max_bytes, progress=progress, cancel=cancel)
        else:
            job = {"action": "download", "video": where.id, "folder": str(job_folder), "max_bytes": max_bytes,
                   "start": part.start, "end": part.end, "max_seconds": max_seconds}
            file = job_folder / Path(ask_youtube(job, DOWNLOAD_SECONDS, cancel, progress)).name
        _check_file(file, max_bytes, part, max_seconds)
        suffix = file.suffix if file.suffix in MEDIA_SUFFIXES else ".media"
        kept = Path(folder, f"link-{os.urandom(8).hex()}{suffix}")
        file.rename(kept)
    return kept


def download_archive(link: str, folder: str | os.PathLike, *, max_bytes: int, cancel: threading.Event | None = None
                     ) -> Path:
    """Fetch a test set's zip or table behind a direct link. What is in the file is not looked at.

    Args:
        link: address of the file, on a host that ALLOWED_HOSTS names.
        folder: where the file goes; it must exist.
        max_bytes: the largest file.
        cancel: set from another thread; ends everything within about a second.

    Returns:
        The file, to be removed by the caller.

    Raises:
        UserError: the link is refused, cannot be reached, or is beyond the limit. Nothing is left in `folder` then.
        Cancelled: `cancel` was set. Nothing is left either.
    """
    target = link_hosts.read_link(link)
    link_hosts.check_media_host(target)
    suffix = Path(urlsplit(target.path).path).suffix.lower()
    with _job_folder(folder) as job_folder:
        file = job_folder / f"archive{suffix if suffix in ('.zip', '.csv', '.tsv') else ''}"
        link_media.fetch(target, file, max_bytes=max_bytes, progress=lambda fraction, text: None,
                         cancel=cancel or threading.Event(), kinds=link_media.ARCHIVE_TYPES)
        kept = Path(folder, f"link-{os.urandom(8).hex()}{file.suffix}")
        file.rename(kept)
    return kept


def human_captions(link: str, language: str, *, cancel: threading.Event | None = None) -> str | None:
    """The captions that people wrote for a video. Automatic captions are never returned: see `Caption`.

    Args:
        link: address of a YouTube video.
        language: ISO 639-1.
        cancel: set from another thread; ends the work within about a second.

    Returns:
        Plain text, a line per caption; None where there are none.

    Raises:
        UserError: the link is refused, or cannot be reached.
        Cancelled: `cancel` was set.
    """
    where = parse_link(link)
    if isinstance(where, Target):
        return None
    with _job_folder(None) as folder:
        job = {"action": "captions", "video": where.id, "folder": str(folder), "language": language}
        return ask_youtube(job, LOOK_SECONDS, cancel or threading.Event())


def parse_link(link: str) -> Video | Target:
    """Which YouTube video, or which media file on an allowed host; asks nobody.

    Args:
        link: as a person pastes it.

    Returns:
        The video with its start, or the address in parts.

    Raises:
        UserError: it is neither.
    """
    target = link_hosts.read_link(link)
    if not link_hosts.is_youtube(target.host):
        link_hosts.check_media_host(target)
        return target
    parts = urlsplit(target.path)
    query = parse_qs(parts.query)
    names = [name for name in parts.path.split("/") if name]
    if target.host.endswith("youtu.be"):
        found = names[0] if names else ""
    elif names[:1] == ["watch"] or not names:
        found = (query.get("v") or [""])[0] or (names[1] if len(names) > 1 else "")
    else:
        found = names[1] if len(names) > 1 and names[0] in ("shorts", "live", "embed", "v", "e") else ""
    if not re.fullmatch(r"[0-9A-Za-z_-]{11}", found) or found in ("videoseries", "live_stream"):
        raise link_error("not_one_video", got=link.strip()[:80])
    fragment = parse_qs(urlsplit(link.strip()).fragment)
    times = [*query.get("t", ()), *query.get("start", ()), *query.get("time_continue", ()), *fragment.get("t", ())]
    return Video(found, next(filter(None, map(_seconds, times)), 0.0))


def _seconds(text: str) -> float:
    """A time in a link in seconds; 0 for what is none, as YouTube takes it."""
    try:
        return parse_time(text)
    except UserError:
        return 0.0


def _check_file(file: Path, max_bytes: int, part: Part, max_seconds: float) -> None:
    """The limits once more, on what really came; a direct link tells its length only now."""
    size = file.stat().st_size
    if size > max_bytes:
        raise too_large(size, max_bytes)
    if size == 0:
        raise link_error("not_media", got="0 bytes")
    info = probe(file)
    if not info.has_audio:
        raise link_error("silent", got=file.name)
    if info.duration is None:
        return
    if part.first >= info.duration:
        raise link_error("part", got=f"from {spoken_time(part.first)}", limit=spoken_time(info.duration))
    wanted = min(info.duration, part.end if part.end is not None else math.inf) - part.first
    if wanted > max_seconds:
        raise link_error("long", got=spoken_time(wanted), limit=spoken_time(max_seconds))


def _picture(url: str | None) -> str | None:
    """A picture's address if it is YouTube's: a page shows it to a visitor, whose browser then asks for it."""
    parts = urlsplit(url or "")
    host = parts.hostname or ""
    return url if parts.scheme == "https" and any(f".{host}".endswith(f".{name}") for name in PICTURE_HOSTS) else None


def _at_times(progress: Progress | None) -> Progress:
    """Progress for people: a few calls a second, and none lost at the end."""
    last = -math.inf

    def report(fraction: float | None, text: str) -> None:
        nonlocal last
        now = time.monotonic()
        if progress is not None and (now - last >= 0.2 or fraction == 1.0):
            last = now
            progress(fraction, text)

    return report


@contextlib.contextmanager
def _job_folder(parent: str | os.PathLike | None) -> Iterator[Path]:
    """A folder that is gone afterwards, whatever happens."""
    if parent is None:
        with temporary_folder("link-") as folder:
            yield folder
        return
    folder = Path(tempfile.mkdtemp(prefix="link-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
