"""What yt-dlp and pytubefix report, by their texts and exceptions, as a reason that a person can act on."""

from __future__ import annotations

import pytest
import pytubefix.exceptions as pytubefix_exceptions
from yt_dlp.networking.exceptions import TransportError
from yt_dlp.utils import DownloadError, ExtractorError, GeoRestrictedError, UserNotLive

from shared.link.reasons import REASONS, SEND_FILE, classify, short_reason

ID = "dQw4w9WgXcQ"


def wrapped(error: ExtractorError) -> DownloadError:
    """As YoutubeDL.report_error gives an extractor's error out."""
    return DownloadError(f"ERROR: {error}", (type(error), error, None))


@pytest.mark.parametrize(("kind", "text"), [
    ("bot", "Sign in to confirm you’re not a bot. Use --cookies-from-browser or --cookies for the authentication."),
    ("bot", "This helps protect our community. YouTube is requiring a captcha challenge before playback"),
    ("bot", "All player responses are invalid. Your IP is likely being blocked by Youtube"),
    ("rate", "Video unavailable. This content isn't available, try again later. The current session has been "
     "rate-limited by YouTube for up to an hour."),
    ("private", "Private video. Sign in if you've been granted access to this video. Use --cookies"),
    ("private", "Video unavailable. This video is private"),
    ("removed", "Video unavailable. This video has been removed by the uploader"),
    ("removed", "Video unavailable. This video is no longer available because the YouTube account associated with "
     "this video has been terminated."),
    ("removed", "This video has been removed for violating YouTube's Terms of Service"),
    ("removed", "This live stream recording is not available."),
    ("unavailable", "Video unavailable"),
    ("unavailable", "This video is not available"),
    ("unavailable", "The following content is not available on this app.. Watch on the latest version of YouTube."),
    ("age", "Sign in to confirm your age. This video may be inappropriate for some users."),
    ("members", "Join this channel to get access to members-only content like this video, and other exclusive perks."),
    ("members", "This video is available to this channel's members on level: Gold (or any higher level)."),
    ("members", "This video is only available to Music Premium members"),
    ("paid", "This video requires payment to watch"),
    ("geo", "The uploader has not made this video available in your country"),
    ("geo", "Video unavailable. This video contains content from SME, who has blocked it in your country on copyright "
     "grounds"),
    ("removed", "Video unavailable. This video contains content from SME, who has blocked it on copyright grounds"),
    ("upcoming", "This live event will begin in 2 days."),
    ("upcoming", "This live event will begin in a few moments."),
    ("upcoming", "Premieres in 44 minutes"),
    ("upcoming", "Premiere will begin shortly"),
    ("drm", "This video is DRM protected"),
    ("silent", "Requested format is not available. Use --list-formats for a list of available formats"),
    ("silent", "No video formats found!"),
    ("failed", "Failed to extract any player response"),
])
def test_every_known_text_of_ytdlp_is_understood(kind, text):
    assert classify(wrapped(ExtractorError(text, expected=True, video_id=ID, ie="youtube"))) == kind


V = ID


@pytest.mark.parametrize(("kind", "error"), [
    ("geo", wrapped(GeoRestrictedError("Not for you", countries=["SE"]))),
    ("upcoming", wrapped(UserNotLive(video_id=V))),
    ("network", wrapped(ExtractorError("Unable to download API page", cause=TransportError(
        "Failed to resolve 'www.youtube.com' ([Errno -2] Name or service not known)")))),
    ("rate", wrapped(ExtractorError("Unable to download webpage: HTTP Error 429: Too Many Requests"))),
    ("broken", wrapped(ExtractorError("Unable to download", cause=TransportError("Read timed out.")))),
    ("private", pytubefix_exceptions.VideoPrivate(V)),
    ("members", pytubefix_exceptions.MembersOnly(V)),
    ("geo", pytubefix_exceptions.VideoRegionBlocked(V)),
    ("geo", pytubefix_exceptions.VideoBlockedByCopyright(V)),
    ("bot", pytubefix_exceptions.BotDetection(V)),
    ("bot", pytubefix_exceptions.PoTokenRequired(V, "WEB")),
    ("removed", pytubefix_exceptions.VideoRemovedByUploader(V)),
    ("removed", pytubefix_exceptions.VideoRemovedByYouTubeForViolatingTOS(V)),
    ("removed", pytubefix_exceptions.AccountTerminated(V)),
    ("removed", pytubefix_exceptions.RecordingUnavailable(V)),
    ("live", pytubefix_exceptions.LiveStreamError(V)),
    ("upcoming", pytubefix_exceptions.LiveStreamOffline(V, "Premieres in 2 hours")),
    ("age", pytubefix_exceptions.AgeRestrictedError(V)),
    ("age", pytubefix_exceptions.AgeCheckRequiredError(V)),
    ("age", pytubefix_exceptions.AgeCheckRequiredAccountError(V)),
    ("age", pytubefix_exceptions.LoginRequired(V, "Sign in to confirm your age. It may be inappropriate for some")),
    ("private", pytubefix_exceptions.LoginRequired(V, "This is a private video. Please sign in to verify")),
    ("unavailable", pytubefix_exceptions.VideoUnavailable(V)),
    ("broken", pytubefix_exceptions.MaxRetriesExceeded()),
    ("failed", pytubefix_exceptions.RegexMatchError("js_url", "x")),
    ("failed", KeyError("streamingData")),
], ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value)
def test_every_known_exception_is_understood(kind, error):
    assert classify(error) == kind


def test_reasons_are_distinct_and_short():
    assert len({reason.what for reason in REASONS.values()}) == len(REASONS)
    assert all(SEND_FILE in reason.hint for reason in REASONS.values())
    error = wrapped(ExtractorError("Private video. Use --cookies now", video_id=ID, ie="youtube"))
    assert short_reason(error) == "Private video"
