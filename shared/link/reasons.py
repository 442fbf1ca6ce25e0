"""Why a link could not be turned into audio: one table, and the words by which yt-dlp and pytubefix tell us.

Enters: a kind, or an exception of those two libraries. Leaves: a UserError whose `what` is the kind's own
sentence, always with the way out: send a file instead. It fetches nothing and imports neither library, so that
the process which serves people never loads them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from shared.errors import UserError
from shared.units import megabytes

SEND_FILE = "or send a file instead"


@dataclass(frozen=True)
class Reason:
    """what, hint: for `UserError`. final: a second way to fetch the same video would fail as well."""

    what: str
    hint: str
    final: bool = True


REASONS: dict[str, Reason] = {
    # What YouTube says of a video.
    "bot": Reason("YouTube asks this server to prove that it is not a robot", "try again later (who runs this app "
                  f"can name a cookies file in YOUTUBE_COOKIES), {SEND_FILE}", final=False),
    "rate": Reason("YouTube gives this server nothing more for up to an hour", f"try again later, {SEND_FILE}"),
    "private": Reason("This video is private", f"ask its owner to share it, {SEND_FILE}"),
    "removed": Reason("This video has been removed", f"look for another copy, {SEND_FILE}"),
    "unavailable": Reason("This video is not available", f"check that the link plays in a browser, {SEND_FILE}",
                          final=False),
    "age": Reason("This video is age-limited: YouTube shows it to signed-in people only",
                  f"choose another video, {SEND_FILE}", final=False),
    "members": Reason("This video is for the channel's members only", f"choose another video, {SEND_FILE}"),
    "paid": Reason("This video must be paid for", f"choose another video, {SEND_FILE}"),
    "geo": Reason("This video is blocked in the country where this server stands",
                  f"choose another video, {SEND_FILE}"),
    "upcoming": Reason("This live stream or premiere has not started yet", f"come back when it is over, {SEND_FILE}"),
    "live": Reason("This is a live stream that is still running", f"come back when it is over, {SEND_FILE}"),
    "drm": Reason("This video is copy-protected", f"choose another video, {SEND_FILE}"),
    "silent": Reason("There is no sound to fetch behind this link", f"choose another one, {SEND_FILE}", final=False),
    "failed": Reason("YouTube's answer could not be used", "try again later (who runs this app can update yt-dlp), "
                     f"{SEND_FILE}", final=False),
    # What the link itself is.
    "malformed": Reason("This is not a link we can read",
                        f"paste the address of one video, beginning with https://, {SEND_FILE}"),
    "scheme": Reason("Only http and https links are opened", f"paste the address of one video, {SEND_FILE}"),
    "not_one_video": Reason("This link names no single video",
                            f"open the video itself and copy its address, {SEND_FILE}"),
    "host": Reason("Links to this host are not allowed here", f"use a YouTube link, {SEND_FILE}"),
    "address": Reason("This link leads to a private address, which is never opened",
                      f"use a public link, {SEND_FILE}"),
    "redirects": Reason("This link leads from one address to another without end", f"use a direct link, {SEND_FILE}"),
    # What happened on the way.
    "network": Reason("The network cannot be reached from here", f"check the connection and try again, {SEND_FILE}"),
    "broken": Reason("The download broke off", f"try again, {SEND_FILE}", final=False),
    "slow": Reason("The download took too long", f"try again later, {SEND_FILE}"),
    "answer": Reason("The server behind the link did not give the file", f"check the link in a browser, {SEND_FILE}"),
    "not_media": Reason("There is no sound or video file behind this link",
                        f"paste the address of the media file itself, {SEND_FILE}"),
    "not_archive": Reason("There is no zip or table behind this link",
                          f"paste the address of the file itself, {SEND_FILE}"),
    # Limits.
    "long": Reason("The recording is too long", f"choose a shorter part by start and end, {SEND_FILE}"),
    "large": Reason("The recording is too large", f"choose a shorter one, {SEND_FILE} (its sound only: MP3 or M4A)"),
    "part": Reason("The chosen part does not exist in this recording",
                   f"choose a start within it and an end after the start, {SEND_FILE}"),
    "cookies": Reason("The cookies file named in YOUTUBE_COOKIES is not there",
                      f"correct the variable or remove it, {SEND_FILE}"),
}


def link_error(kind: str, got: object = None, limit: object = None) -> UserError:
    """The error of one kind of REASONS.

    Args:
        kind: a key of REASONS.
        got, limit: for the message.

    Returns:
        A UserError, to be raised by the caller.
    """
    reason = REASONS[kind]
    return UserError(reason.what, got=got, limit=limit, hint=reason.hint)


def too_large(n_bytes: int | None, max_bytes: int) -> UserError:
    """The UserError for a file over its limit; n_bytes None if it is only known to go on."""
    return link_error("large", got="more than the limit" if n_bytes is None else megabytes(n_bytes),
                      limit=megabytes(max_bytes))


# The texts are YouTube's own, passed on by yt-dlp (extractor/youtube/_video.py, from playabilityStatus), and
# yt-dlp's and pytubefix's additions to them. The first match counts: a private video is also asked to "sign in",
# and a blocked one is also "unavailable".
PATTERNS: tuple[tuple[str, str], ...] = (
    ("bot", r"confirm you're not a bot|captcha challenge|detected as a bot|ip is likely being blocked|"
            r"requires potoken"),
    ("rate", r"rate-limited|content isn't available, try again later|http error 429|too many requests"),
    ("private", r"private video|video is private|is a private"),
    ("upcoming", r"live event will begin|premieres? (in|will)|premiere will begin|live event has not|"
                 r"not currently live|will begin (in|shortly)"),
    ("members", r"members[- ]only|channel's members|join this channel|premium members|members on level"),
    ("paid", r"requires payment|rent or (buy|purchase)|purchase (this|to)|must be (bought|rented)"),
    ("age", r"confirm your age|age[- ]restrict|inappropriate for some|age has restrictions|has age restrictions"),
    ("geo", r"in your (country|region)|from your location|geo[- ]?restrict"),
    ("drm", r"drm protected"),
    ("live", r"is streaming live"),
    ("removed", r"been removed|been terminated|removed by|been closed|copyright grounds|copyright claim|"
                r"recording (is not )?available|does not have a live stream recording|live event has ended"),
    ("silent", r"requested format is not available|no video formats found|only images are available"),
    ("network", r"failed to resolve|name or service not known|temporary failure in name resolution|"
                r"network is unreachable|no route to host|connection refused|connect timeout|"
                r"failed to establish a new connection|getaddrinfo failed|refused by the address guard"),
    ("broken", r"timed out|connection reset|connection aborted|bytes read|incompleteread|maximum number of retries"),
    ("unavailable", r"unavailable|not available|no longer available|does not exist|isn't available|not found"),
)

# By class name, as this module does not import the libraries; their texts alone would be too thin to go by.
TYPES: dict[str, str] = {
    "GeoRestrictedError": "geo", "UserNotLive": "upcoming",
    "BotDetection": "bot", "PoTokenRequired": "bot",
    "VideoPrivate": "private", "MembersOnly": "members", "VideoRegionBlocked": "geo",
    "VideoRemovedByUploader": "removed", "VideoRemovedByYouTubeForViolatingTOS": "removed",
    "AccountTerminated": "removed", "RecordingUnavailable": "removed", "LiveStreamEnded": "removed",
    "LiveStreamError": "live", "LiveStreamOffline": "upcoming",
    "AgeRestrictedError": "age", "AgeCheckRequiredError": "age", "AgeCheckRequiredAccountError": "age",
}


def classify(error: BaseException) -> str:
    """The kind of REASONS that an exception of yt-dlp or pytubefix stands for; 'failed' if none is known."""
    chain = list(_chain(error))
    for link in chain:
        if type(link).__name__ in TYPES:
            return TYPES[type(link).__name__]
    for link in chain:
        text = re.sub("[‘’`]", "'", str(link)).lower()
        for kind, pattern in PATTERNS:
            if re.search(pattern, text):
                return kind
    return "failed"


def short_reason(error: BaseException) -> str:
    """One line of an exception for `got`: without yt-dlp's prefixes, hints and appeals for bug reports."""
    text = re.sub(r"^ERROR:\s*|\[youtube\]\s*|\b[\w-]{11}: ", "", str(error).strip())
    text = re.split(r"\n|; please report|\(caused by|\. Use --|See {2}", text)[0]
    return text[:160] or type(error).__name__


def _chain(error: BaseException | None, depth: int = 0) -> Iterator[BaseException]:
    """An exception and what it wraps: DownloadError keeps it in exc_info, ExtractorError in cause."""
    while error is not None and depth < 8:
        yield error
        exc_info = getattr(error, "exc_info", None) or (None, None, None)
        inner = getattr(error, "cause", None) or exc_info[1] or error.__cause__
        error = inner if isinstance(inner, BaseException) and inner is not error else None
        depth += 1
