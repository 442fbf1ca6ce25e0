"""Times and sizes as people write them, and times that people type."""

from __future__ import annotations

import re

from shared.errors import UserError

# A time as people type it: 2:05.5 and 1:02:05; 90 and 90 s; 1h2m5s and 1 min 30 s.
TYPED = re.compile(
    r"(?:(?P<hours>\d{1,4}):)?(?P<minutes>\d{1,5}):(?P<seconds>\d{1,5}(?:[.,]\d+)?)"
    r"|(?P<alone>\d{1,7}(?:[.,]\d+)?)\s*(?:s|sec|seconds?)?"
    r"|(?=\d)(?:(?P<h>\d{1,4})\s*h)?\s*(?:(?P<m>\d{1,5})\s*m(?:in)?)?\s*(?:(?P<s>\d{1,5}(?:[.,]\d+)?)\s*s(?:ec)?)?")


def spoken_time(seconds: float) -> str:
    """A length of time as people write it.

    >>> spoken_time(0.4), spoken_time(4), spoken_time(125), spoken_time(3725)
    ('0.4 s', '4 s', '2 min 05 s', '1 h 02 min')
    """
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s".replace(".0 s", " s")
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s" if rest else f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def short_clock(seconds: float) -> str:
    """A place in a recording as players write it, to the second.

    >>> short_clock(7.4), short_clock(3725)
    ('0:07', '1:02:05')
    """
    minutes, second = divmod(int(max(seconds, 0)), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


def clock_time(seconds: float, point: str = ".") -> str:
    """A place in a recording as subtitles write it, to the millisecond.

    >>> clock_time(3725.5), clock_time(0.0004, ",")
    ('01:02:05.500', '00:00:00,000')
    """
    ms = round(max(seconds, 0) * 1000)
    return f"{ms // 3_600_000:02d}:{ms // 60_000 % 60:02d}:{ms // 1000 % 60:02d}{point}{ms % 1000:03d}"


def parse_time(text: str) -> float:
    """Seconds of a time as people type it and as subtitles write it; "1:75" is 135 s.

    Raises UserError for anything else.

    >>> [parse_time(text) for text in ("90", "2:05,5", "1:02:05", "1m30s", "1 h 02 min")]
    [90.0, 125.5, 3725.0, 90.0, 3720.0]
    """
    found = TYPED.fullmatch(text.strip().lower())
    if found is None:
        raise UserError("This is not a time", got=text.strip()[:20] or "nothing",
                        hint="write 90, 1:30, 1:02:05 or 1m30s")
    part = {name: float((value or "0").replace(",", ".")) for name, value in found.groupdict().items()}
    hours, minutes = part["hours"] + part["h"], part["minutes"] + part["m"]
    return hours * 3600 + minutes * 60 + part["seconds"] + part["s"] + part["alone"]


def megabytes(n_bytes: float) -> str:
    """A size as people write it: '0.5 MB', '12 MB', '1250 MB'."""
    return f"{n_bytes / 1e6:.1f} MB" if n_bytes < 10e6 else f"{n_bytes / 1e6:.0f} MB"
