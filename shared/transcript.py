"""What was spoken, by whom and when, and the six files it can be written to.

Plain frozen values: they cross process borders and compare in tests. The writers are pure functions of a
Transcript; `FORMATS` names them all. This module does not know where the text came from.
"""

from __future__ import annotations

import io
import json
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise

from shared.units import clock_time, short_clock

# Subtitle rules. Two lines of 42 columns, 17 characters a second, 5/6 s to 7 s on screen and two frames between
# cues are the values of the Netflix Timed Text Style Guide (general requirements) and close to the BBC's.
LINE_COLUMNS = 42
N_LINES = 2
CHARACTERS_PER_SECOND = 17
MIN_SECONDS, MAX_SECONDS = 5 / 6, 7.0
GAP_SECONDS = 2 / 24
SILENCE_SECONDS = 1.5  # between two words: the text before it goes
WORD_SECONDS = 3.0  # no word takes longer; what its times say beyond is silence
# Signs that begin no line and end none: closing and opening marks, Thai and Lao vowels written after and before their
# consonant, small kana and the sign of a long vowel; the signs that bind two Burmese or Khmer consonants.
NOT_FIRST = frozenset("、。，．：；！？…‥・）］｝〕〉》」』】〙〗〟’”»％‰℃,.!?:;)]}%"
                      "ぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮヵヶー々〻ゝゞヽヾ〜～ะาำๅๆฯະາຳໆຯ។៕ៗ၊။")
NOT_LAST = frozenset("（［｛〔〈《「『【〘〖〝‘“«￥＄￡([{เแโใไເແໂໃໄ\u17d2\u1039")
# The scripts of NO_SPACES: Thai and Lao, Burmese, Khmer, East Asian marks and brackets, kana, ideographs, full width.
_NOT_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
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
    """segments in order of time; language: ISO 639-1; duration: seconds of audio; warnings: for the reader."""

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


@dataclass(frozen=True)
class _Atom:
    """What stays on one line: a word, or a character of a script without spaces, with the marks that belong to it.

    has_space: written with a space before it. start, end: seconds.
    """

    text: str
    has_space: bool
    start: float
    end: float


def cues(transcript: Transcript) -> list[Cue]:
    """Split and time the text by the subtitle rules above; cues never overlap and are in order."""
    pieces = [piece for segment in transcript.segments for piece in _pieces(segment)]
    timed: list[Cue] = []
    for i, (start, end, lines) in enumerate(pieces):
        start = max(start, timed[-1].end + GAP_SECONDS) if timed else max(start, 0.0)
        following = pieces[i + 1][0] if i + 1 < len(pieces) else transcript.duration + MAX_SECONDS
        # Short or fast speech stays on screen longer, up to the next cue.
        reading = sum(map(_columns, lines)) / CHARACTERS_PER_SECOND
        wanted = max(end, start + MIN_SECONDS, start + min(reading, MAX_SECONDS))
        end = max(min(wanted, following - GAP_SECONDS), end if end <= following else following - GAP_SECONDS)
        end = min(max(end, start + 0.04), start + MAX_SECONDS)
        timed.append(Cue(start, end, lines))
    return timed


def _pieces(segment: Segment) -> Iterator[tuple[float, float, tuple[str, ...]]]:
    """(start, end, lines) of the parts of a segment that each fit on the screen."""
    atoms = _atoms(segment)
    lead = [_Atom(word, True, 0.0, 0.0) for word in f"{segment.speaker}:".split()] if segment.speaker else []
    opened = 0
    for i in range(1, len(atoms) + 1):
        shown = _led(lead, atoms[opened:i])
        if i == len(atoms) or _ends_cue(shown, atoms[opened].start, atoms[i]):
            yield atoms[opened].start, atoms[i - 1].end, tuple(_lines(shown))
            opened = i


def _led(lead: list[_Atom], atoms: list[_Atom]) -> list[_Atom]:
    return [*lead, replace(atoms[0], has_space=True), *atoms[1:]] if lead else atoms


def _ends_cue(shown: list[_Atom], start: float, following: _Atom) -> bool:
    """Whether the next atom belongs on another cue."""
    if following.end - start > MAX_SECONDS or following.start - shown[-1].end >= SILENCE_SECONDS:
        return True
    if len(_lines([*shown, following])) > N_LINES:
        return True
    return ends_sentence(shown[-1].text) and _columns(_text(shown)) > LINE_COLUMNS / 2


def _atoms(segment: Segment) -> list[_Atom]:
    """The text of a segment in the pieces between which a line may break, each with its time."""
    text, times = _timed(segment)
    atoms: list[_Atom] = []
    at, has_space, in_word = 0, False, False
    for cluster in _clusters(text):
        start, end = times[at][0], times[at + len(cluster) - 1][1]
        at += len(cluster)
        if cluster.isspace():
            has_space, in_word = True, False
            continue
        is_word = UNSPACED.match(cluster) is None
        last = atoms[-1] if atoms and not has_space else None
        binds = last is not None and ((in_word and is_word) or _begins_no_line(cluster) or last.text[-1] in NOT_LAST)
        if last is not None and binds and _columns(last.text + cluster) <= LINE_COLUMNS:
            atoms[-1] = replace(last, text=last.text + cluster, end=max(last.end, end))
        else:
            atoms.append(_Atom(cluster, has_space, start, end))
        in_word = is_word and (in_word or not _begins_no_line(cluster))
        has_space = False
    return _shortened(atoms, WORD_SECONDS if segment.words else math.inf)


def _shortened(atoms: list[_Atom], at_most: float) -> list[_Atom]:
    """None lasts into the next, nor longer than `at_most`: a word before a pause may have been given the pause too."""
    following = [atom.start for atom in atoms[1:]] + [math.inf]
    return [replace(atom, end=min(atom.end, max(start, atom.start), atom.start + at_most))
            for atom, start in zip(atoms, following, strict=True)]


def _timed(segment: Segment) -> tuple[str, list[tuple[float, float]]]:
    """The text, and start and end of each character: by the words' times, else by its share of the segment's width."""
    parts = [(word.text, word.start, word.end) for word in segment.words if word.text]
    if not parts:
        parts = [(segment.text, segment.start, segment.end)]
    times: list[tuple[float, float]] = []
    for text, start, end in parts:
        widths = [0 if letter.isspace() else _columns(letter) for letter in text]
        if not any(widths):  # marks alone: a word of Whisper's may be a part of a character
            widths = [1] * len(text)
        total, before = sum(widths), 0
        for width in widths:
            times.append((start + (end - start) * before / total, start + (end - start) * (before + width) / total))
            before += width
    return "".join(text for text, _, _ in parts), times


def _begins_no_line(cluster: str) -> bool:
    return cluster[0] in NOT_FIRST or unicodedata.category(cluster[0]).startswith("M")


def _clusters(text: str) -> list[str]:
    """What readers take for one character: a letter with its marks (Unicode's extended grapheme clusters)."""
    import regex  # here: what only writes text does without it

    return regex.findall(r"\X", text)


def _text(atoms: Sequence[_Atom]) -> str:
    return "".join(f" {atom.text}" if atom.has_space else atom.text for atom in atoms).strip()


def ends_sentence(text: str) -> bool:
    return text.rstrip().endswith((".", "!", "?", "…", "。", "！", "？", "।", "؟"))


def _columns(text: str) -> int:
    """Width on screen: wide East Asian characters count two, combining marks none."""
    return sum(0 if unicodedata.category(c) in ("Mn", "Me", "Cf") else 2 if unicodedata.east_asian_width(c) in "WF"
               else 1 for c in text)


def _lines(atoms: Sequence[_Atom]) -> list[str]:
    """Lines of at most LINE_COLUMNS; two lines are made about equally long."""
    columns = _columns(_text(atoms))
    lines: list[str] = []
    for width in (LINE_COLUMNS,) if columns <= LINE_COLUMNS else (min(columns // 2 + 4, LINE_COLUMNS), LINE_COLUMNS):
        lines, first = [], 0
        for i in range(1, len(atoms) + 1):
            if i == len(atoms) or _columns(_text(atoms[first : i + 1])) > width:
                lines.append(_text(atoms[first:i]))
                first = i
        if len(lines) <= N_LINES:
            return lines
    return lines


def to_txt(transcript: Transcript) -> str:
    """One segment a line, with the speaker where known."""
    return "".join(f"{_labelled(segment)}\n" for segment in transcript.segments)


def to_srt(transcript: Transcript) -> str:
    """SubRip."""
    return "\n".join(
        f"{i}\n{clock_time(cue.start, ',')} --> {clock_time(cue.end, ',')}\n" + "\n".join(cue.lines) + "\n"
        for i, cue in enumerate(cues(transcript), 1)
    )


def to_vtt(transcript: Transcript) -> str:
    """WebVTT, with `&` and `<` escaped as https://www.w3.org/TR/webvtt1/#cue-text asks."""
    def escaped(line: str) -> str:
        return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

    return "WEBVTT\n\n" + "\n".join(
        f"{clock_time(cue.start)} --> {clock_time(cue.end)}\n" + "\n".join(map(escaped, cue.lines)) + "\n"
        for cue in cues(transcript)
    )


def to_tsv(transcript: Transcript) -> str:
    """start and end in milliseconds, speaker if speakers are known, text; one segment a line."""
    with_speakers = any(segment.speaker for segment in transcript.segments)
    rows = ["start\tend\tspeaker\ttext" if with_speakers else "start\tend\ttext"]
    for segment in transcript.segments:
        speaker = f"{segment.speaker or ''}\t" if with_speakers else ""
        rows.append(f"{round(segment.start * 1000)}\t{round(segment.end * 1000)}\t{speaker}"
                    f"{' '.join(segment.text.split())}")
    return "\n".join(rows) + "\n"


def to_json(transcript: Transcript) -> str:
    """Everything there is; `Transcript.from_dict` reads it back."""
    return json.dumps(transcript.to_dict(), ensure_ascii=False, indent=1) + "\n"


def to_docx(transcript: Transcript) -> bytes:
    """A Word document: one segment a paragraph, with its time and the speaker where known."""
    import docx  # here: what writes no document does without it
    from docx.oxml import OxmlElement
    from docx.shared import Pt, RGBColor

    document = docx.Document()
    for segment in transcript.segments:
        paragraph = document.add_paragraph()
        if unicodedata.bidirectional(next(filter(str.isalpha, segment.text), "a")) in ("R", "AL"):
            paragraph._p.get_or_add_pPr().append(OxmlElement("w:bidi"))
        time = paragraph.add_run(f"{short_clock(segment.start)}  ")
        time.font.size, time.font.color.rgb = Pt(8), RGBColor(0x64, 0x74, 0x8B)
        if segment.speaker:
            paragraph.add_run(f"{_NOT_IN_XML.sub('', segment.speaker)}: ").bold = True
        paragraph.add_run(_NOT_IN_XML.sub("", segment.text))
    content = io.BytesIO()
    document.save(content)
    return content.getvalue()


FORMATS: dict[str, Callable[[Transcript], str | bytes]] = {
    "txt": to_txt, "srt": to_srt, "vtt": to_vtt, "tsv": to_tsv, "json": to_json, "docx": to_docx,
}


def as_bytes(transcript: Transcript, form: str) -> bytes:
    """What a file of a format (a key of FORMATS) holds; text in UTF-8."""
    content = FORMATS[form](transcript)
    return content if isinstance(content, bytes) else content.encode()


def _labelled(segment: Segment) -> str:
    return f"{segment.speaker}: {segment.text}" if segment.speaker else segment.text
