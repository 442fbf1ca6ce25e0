"""Where the text of a subtitle is cut, and how long each stays on the screen."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from shared.transcript.values import UNSPACED, Segment, Transcript, ends_sentence

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


@dataclass(frozen=True)
class Cue:
    """One subtitle.

    Attributes:
        start, end: seconds from the start of the audio; cues do not overlap.
        lines: one or two, of at most LINE_COLUMNS columns.
    """

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
    """Split and time the text by the subtitle rules above.

    Args:
        transcript: word times are used where it has them.

    Returns:
        Cues in order of time that never overlap.
    """
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
