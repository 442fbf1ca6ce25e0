"""What was said, by whom and when, and the five files it can be written to.

Plain frozen values: they cross process borders and compare in tests. The writers are pure functions of a
Transcript; `FORMATS` names them all. This module does not know where the text came from.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import pairwise

from shared.languages import NO_SPACES

# Subtitle rules. Two lines of 42 columns, 17 characters a second, 5/6 s to 7 s on screen and two frames between
# cues are the values of the Netflix Timed Text Style Guide (general requirements) and close to the BBC's.
LINE_COLUMNS = 42
N_LINES = 2
CHARACTERS_PER_SECOND = 17
MIN_SECONDS, MAX_SECONDS = 5 / 6, 7.0
GAP_SECONDS = 2 / 24
# The scripts of NO_SPACES: Thai and Lao, Burmese, Khmer, East Asian marks and brackets, kana, ideographs, full width.
UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u303f\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf"
                      "\u4e00-\u9fff\uf900-\ufaff\uff01-\uff9f\U00020000-\U0003134f]")


@dataclass(frozen=True)
class Word:
    """text as written, with its leading space; start, end: seconds from the start of the audio; probability 0 … 1."""

    text: str
    start: float
    end: float
    probability: float
    speaker: str | None = None


@dataclass(frozen=True)
class Segment:
    """A sentence or so. avg_logprob: mean log-probability of its tokens (≤ 0); no_speech_prob: 0 … 1."""

    text: str
    start: float
    end: float
    words: tuple[Word, ...] = ()
    speaker: str | None = None
    no_speech_prob: float = 0.0
    avg_logprob: float = 0.0


@dataclass(frozen=True)
class Transcript:
    """segments in order of time; language: ISO 639-1; duration: seconds of audio heard; warnings: for the reader."""

    segments: tuple[Segment, ...]
    language: str
    duration: float
    warnings: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        return joined(segment.text for segment in self.segments)

    @property
    def words(self) -> tuple[Word, ...]:
        return tuple(word for segment in self.segments for word in segment.words)

    def to_dict(self) -> dict:
        return {"text": self.text, **asdict(self)}

    @classmethod
    def from_dict(cls, data: dict) -> Transcript:
        segments = tuple(
            Segment(**{**segment, "words": tuple(Word(**word) for word in segment.get("words", ()))})
            for segment in data["segments"]
        )
        return cls(segments, data["language"], data["duration"], tuple(data.get("warnings", ())))


def joined(texts: Iterable[str]) -> str:
    """Pieces of text as one: with a space between, unless what follows is written in a script without spaces."""
    text = ""
    for piece in texts:
        text += separator(piece) + piece if text else piece
    return text


def separator(text: str) -> str:
    """What parts `text` from the text before it: "" if it begins in a script that is written without spaces."""
    return "" if text and UNSPACED.match(text) else " "


def sentences(segment: Segment) -> list[Segment]:
    """A long segment cut after each sentence, by its word times; as it is where there are none."""
    cuts = [i for i, word in enumerate(segment.words, 1) if ends_sentence(word.text)]
    cuts = sorted({0, *cuts, len(segment.words)})
    if len(cuts) <= 2:
        return [segment]
    parts = []
    for first, last in pairwise(cuts):
        words = segment.words[first:last]
        text = "".join(word.text for word in words).strip()
        parts.append(replace(segment, text=text, start=words[0].start, end=words[-1].end, words=words))
    return parts


@dataclass(frozen=True)
class Cue:
    """One subtitle: at most two lines."""

    start: float
    end: float
    lines: tuple[str, ...]


def cues(transcript: Transcript) -> list[Cue]:
    """Split and time the text by the subtitle rules above; cues never overlap and are in order."""
    pieces = [piece for segment in transcript.segments for piece in _pieces(segment, transcript.language)]
    timed: list[Cue] = []
    for i, (start, end, text) in enumerate(pieces):
        start = max(start, timed[-1].end + GAP_SECONDS) if timed else max(start, 0.0)
        following = pieces[i + 1][0] if i + 1 < len(pieces) else transcript.duration + MAX_SECONDS
        # Short or fast speech stays on screen longer, up to the next cue.
        wanted = max(end, start + MIN_SECONDS, start + min(len(text) / CHARACTERS_PER_SECOND, MAX_SECONDS))
        end = max(min(wanted, following - GAP_SECONDS), end if end <= following else following - GAP_SECONDS)
        end = min(max(end, start + 0.04), start + MAX_SECONDS)
        timed.append(Cue(start, end, tuple(_lines(text, transcript.language))))
    return timed


def _pieces(segment: Segment, language: str) -> Iterator[tuple[float, float, str]]:
    """(start, end, text) of the parts of a segment that each fit on the screen."""
    units = _units(segment, language)
    if not units:
        return
    lead = f"{segment.speaker}: " if segment.speaker else ""
    opened = 0
    for i in range(1, len(units) + 1):
        text = lead + _joined(units[opened:i])
        full = i == len(units) or (
            len(_lines(lead + _joined(units[opened : i + 1]), language)) > N_LINES
            or units[i][1] - units[opened][0] > MAX_SECONDS
            or (ends_sentence(units[i - 1][2]) and _columns(text) > LINE_COLUMNS / 2)
        )
        if full:
            yield units[opened][0], units[i - 1][1], text
            opened = i


def _units(segment: Segment, language: str) -> list[tuple[float, float, str]]:
    """Words with their times; without word times, each by its share of the segment's characters."""
    if segment.words and segment.words[0].text:
        return [(word.start, word.end, word.text) for word in segment.words]
    text = segment.text.strip()
    tokens = list(text) if language in NO_SPACES and " " not in text else [f" {word}" for word in text.split()]
    total = sum(map(len, tokens)) or 1
    length, at, units = segment.end - segment.start, 0, []
    for token in tokens:
        units.append((segment.start + length * at / total, segment.start + length * (at + len(token)) / total, token))
        at += len(token)
    return units


def _joined(units: list[tuple[float, float, str]]) -> str:
    return "".join(text for _, _, text in units).strip()


def ends_sentence(text: str) -> bool:
    return text.rstrip().endswith((".", "!", "?", "…", "。", "！", "？", "।", "؟"))


def _columns(text: str) -> int:
    """Width on screen: wide East Asian characters count two, combining marks none."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _lines(text: str, language: str) -> list[str]:
    """Break text into lines of at most LINE_COLUMNS; two lines are made about equally long."""
    if _columns(text) <= LINE_COLUMNS:
        return [text]
    words = list(text) if language in NO_SPACES and " " not in text else text.split(" ")
    glue = "" if len(words) == len(text) else " "
    for width in (_columns(text) // 2 + 4, LINE_COLUMNS):
        lines, line = [], ""
        for word in words:
            longer = f"{line}{glue}{word}" if line else word
            if line and _columns(longer) > min(width, LINE_COLUMNS):
                lines.append(line)
                line = word
            else:
                line = longer
        lines.append(line)
        if len(lines) <= N_LINES:
            return lines
    return lines


def to_txt(transcript: Transcript) -> str:
    """One segment a line, with the speaker where known."""
    return "".join(f"{_labelled(segment)}\n" for segment in transcript.segments)


def to_srt(transcript: Transcript) -> str:
    """SubRip."""
    return "\n".join(
        f"{i}\n{_clock(cue.start, ',')} --> {_clock(cue.end, ',')}\n" + "\n".join(cue.lines) + "\n"
        for i, cue in enumerate(cues(transcript), 1)
    )


def to_vtt(transcript: Transcript) -> str:
    """WebVTT, with `&` and `<` escaped as https://www.w3.org/TR/webvtt1/#cue-text asks."""
    def escaped(line: str) -> str:
        return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

    return "WEBVTT\n\n" + "\n".join(
        f"{_clock(cue.start, '.')} --> {_clock(cue.end, '.')}\n" + "\n".join(map(escaped, cue.lines)) + "\n"
        for cue in cues(transcript)
    )


def to_tsv(transcript: Transcript) -> str:
    """start and end in milliseconds, speaker, text; one segment a line."""
    rows = ["start\tend\tspeaker\ttext"]
    rows += [
        f"{round(s.start * 1000)}\t{round(s.end * 1000)}\t{s.speaker or ''}\t{' '.join(s.text.split())}"
        for s in transcript.segments
    ]
    return "\n".join(rows) + "\n"


def to_json(transcript: Transcript) -> str:
    """Everything there is; `Transcript.from_dict` reads it back."""
    return json.dumps(transcript.to_dict(), ensure_ascii=False, indent=1) + "\n"


FORMATS: dict[str, Callable[[Transcript], str]] = {
    "txt": to_txt, "srt": to_srt, "vtt": to_vtt, "tsv": to_tsv, "json": to_json,
}


def _labelled(segment: Segment) -> str:
    return f"{segment.speaker}: {segment.text}" if segment.speaker else segment.text


def _clock(seconds: float, point: str) -> str:
    ms = round(max(seconds, 0) * 1000)
    return f"{ms // 3_600_000:02d}:{ms // 60_000 % 60:02d}:{ms // 1000 % 60:02d}{point}{ms % 1000:03d}"
