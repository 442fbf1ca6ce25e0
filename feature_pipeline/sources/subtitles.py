"""The cues of SubRip and WebVTT files."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

_TIMES = re.compile(r"(?:(\d+):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})\s*-->\s*(?:(\d+):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})")
_VOICE = re.compile(r"<v(?:\.[^ >]*)?\s+([^>]+)>")


def cues(subtitles: str) -> Iterator[tuple[float, float, str, str | None]]:
    """(start, end, text, voice) of each cue of SubRip or WebVTT text; seconds. Cues of no length are left out."""
    for block in re.split(r"\n\s*\n", subtitles.replace("\r\n", "\n").replace("\r", "\n")):
        lines = block.strip().split("\n")
        for number, line in enumerate(lines):
            match = _TIMES.search(line)
            if match:
                start, end = (_seconds(match.groups()[i : i + 4]) for i in (0, 4))
                text = html.unescape(" ".join(lines[number + 1 :])).strip()
                voice = _VOICE.search(text)
                if end > start and text:
                    yield start, end, text, voice[1].strip() if voice else None
                break


def _seconds(parts: tuple[str | None, ...]) -> float:
    hours, minutes, seconds, fraction = (part or "0" for part in parts)
    return int(hours) * 3600 + int(minutes) * 60 + int(seconds) + int(fraction.ljust(3, "0")) / 1000
