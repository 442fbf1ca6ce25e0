"""The cues of SubRip and WebVTT files."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

from shared.units import parse_time

_TIME = r"((?:\d{1,4}:)?\d{1,2}:\d{1,2}[.,]\d{1,3})"
_TIMES = re.compile(rf"{_TIME}\s*-->\s*{_TIME}")
_VOICE = re.compile(r"<v(?:\.[^ >]*)?\s+([^>]+)>")


def cues(subtitles: str) -> Iterator[tuple[float, float, str, str | None]]:
    """(start, end, text, voice) of each cue of SubRip or WebVTT text; seconds. Cues of no length are left out."""
    for block in re.split(r"\n\s*\n", subtitles.replace("\r\n", "\n").replace("\r", "\n")):
        lines = block.strip().split("\n")
        for number, line in enumerate(lines):
            match = _TIMES.search(line)
            if match:
                start, end = map(parse_time, match.groups())
                text = html.unescape(" ".join(lines[number + 1 :])).strip()
                voice = _VOICE.search(text)
                if end > start and text:
                    yield start, end, text, voice[1].strip() if voice else None
                break
