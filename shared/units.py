"""Times and sizes as people write them, and times that people type."""

from __future__ import annotations


def spoken_time(seconds: float) -> str:
    """A length of time as people write it: '0.4 s', '2 min 05 s', '1 h 02 min'."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds != int(seconds) else f"{int(seconds)} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s" if rest else f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def megabytes(n_bytes: float) -> str:
    """A size as people write it: '0.5 MB', '12 MB', '1250 MB'."""
    return f"{n_bytes / 1e6:.1f} MB" if n_bytes < 10e6 else f"{n_bytes / 1e6:.0f} MB"


def short_clock(seconds: float) -> str:
    """As players write it.

    >>> short_clock(7.4), short_clock(3725)
    ('0:07', '1:02:05')
    """
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


def long_time(seconds: float) -> str:
    """As a person says it.

    >>> long_time(4.24), long_time(75), long_time(3725)
    ('4.2 s', '1 min 15 s', '1 h 02 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"
    return f"{int(seconds) // 3600} h {int(seconds) % 3600 // 60:02d} min"
