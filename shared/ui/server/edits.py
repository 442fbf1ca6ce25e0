"""Changes that a person makes to a transcript: pure functions from one to the next.

Enters: a Transcript and what to do, as a page sends it. Leaves: another Transcript; times, words and speakers stay
right wherever that can be known. A line whose words were changed loses their times, which were those of other words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from shared.errors import UserError
from shared.transcript import Segment, Transcript, Word, joined

MAX_LETTERS = 10_000  # of a line
MAX_NAME = 60  # letters of a speaker's name


def apply(transcript: Transcript, action: str, given: Mapping[str, Any]) -> Transcript:
    """Raises UserError for an action, a line or a name that cannot be."""
    if action not in ACTIONS:
        raise UserError("There is no such change", got=action, limit=", ".join(ACTIONS), hint="choose one")
    return ACTIONS[action](transcript, given)


def set_text(transcript: Transcript, given: Mapping[str, Any]) -> Transcript:
    """{index, text}: another text for a line; an empty one removes it."""
    index, text = _index(transcript, given), " ".join(str(given.get("text") or "").split())
    if len(text) > MAX_LETTERS:
        raise UserError("The line is too long", got=f"{len(text)} letters", limit=MAX_LETTERS, hint="split it")
    segment = transcript.segments[index]
    if text == segment.text.strip():
        return transcript
    return _put(transcript, index, 1, [replace(segment, text=text, words=())] if text else [])


def split(transcript: Transcript, given: Mapping[str, Any]) -> Transcript:
    """{index, at}: a line parted before its letter number `at`; between two words, where it lies within one."""
    index, at = _index(transcript, given), given.get("at")
    segment = transcript.segments[index]
    text = segment.text.strip()
    if not isinstance(at, int) or not text[:at].strip() or not text[at:].strip():
        raise UserError("A line is parted between two words", got=at, hint="put the cursor between two words of it")
    if segment.words:
        parts = _parted(segment, at)
    else:
        middle = segment.start + (segment.end - segment.start) * at / len(text)
        parts = [replace(segment, text=text[:at].strip(), end=middle),
                 replace(segment, text=text[at:].strip(), start=middle)]
    return _put(transcript, index, 1, parts)


def join(transcript: Transcript, given: Mapping[str, Any]) -> Transcript:
    """{index}: a line and the next as one, of the first one's speaker."""
    index = _index(transcript, given)
    pair = transcript.segments[index : index + 2]
    if len(pair) < 2:
        raise UserError("There is no line after this one", hint="join it with the one before")
    first, second = pair
    words = (*first.words, *second.words) if first.words and second.words else ()
    words = tuple(replace(word, speaker=first.speaker) for word in words)
    return _put(transcript, index, 2, [replace(first, text=joined([first.text.strip(), second.text.strip()]),
                                               end=max(first.end, second.end), words=words)])


def rename(transcript: Transcript, given: Mapping[str, Any]) -> Transcript:
    """{name, to}: a speaker's name in every line. The name of another speaker makes one of the two."""
    name, to = str(given.get("name")), _name(given)
    if all(segment.speaker != name for segment in transcript.segments):
        raise UserError("There is no speaker of that name", got=name, hint="choose one of the text's")
    segments = (_spoken_by(segment, name, to) for segment in transcript.segments)
    return replace(transcript, segments=tuple(segments))


def reassign(transcript: Transcript, given: Mapping[str, Any]) -> Transcript:
    """{index, to}: one line is said by somebody else."""
    index = _index(transcript, given)
    segment = transcript.segments[index]
    return _put(transcript, index, 1, [_spoken_by(segment, segment.speaker, _name(given), all_words=True)])


ACTIONS: dict[str, Callable[[Transcript, Mapping[str, Any]], Transcript]] = {
    "text": set_text, "split": split, "join": join, "rename": rename, "reassign": reassign,
}


def _index(transcript: Transcript, given: Mapping[str, Any]) -> int:
    index = given.get("index")
    if not isinstance(index, int) or not 0 <= index < len(transcript.segments):
        raise UserError("There is no such line", got=index, limit=f"0 to {len(transcript.segments) - 1}",
                        hint="reload the page")
    return index


def _name(given: Mapping[str, Any]) -> str:
    name = " ".join(str(given.get("to") or "").split())
    if not name or len(name) > MAX_NAME:
        raise UserError("A speaker needs a name", got=name or "nothing", limit=f"1 to {MAX_NAME} letters",
                        hint="type one")
    return name


def _put(transcript: Transcript, index: int, n_lines: int, parts: Sequence[Segment]) -> Transcript:
    segments = transcript.segments
    return replace(transcript, segments=(*segments[:index], *parts, *segments[index + n_lines :]))


def _parted(segment: Segment, at: int) -> list[Segment]:
    """Before the word that begins nearest to the letter."""
    if len(segment.words) < 2:
        raise UserError("A line of one word cannot be parted", hint="choose a longer line")
    starts, reached = [], len(segment.words[0].text.lstrip())
    for word in segment.words[1:]:
        starts.append(reached)  # letters before this word, its space among what follows
        reached += len(word.text)
    n_first = 1 + min(range(len(starts)), key=lambda i: abs(starts[i] - at))
    first, second = segment.words[:n_first], segment.words[n_first:]
    return [replace(segment, text=_text(first), words=first, end=first[-1].end),
            replace(segment, text=_text(second), words=second, start=second[0].start)]


def _text(words: Sequence[Word]) -> str:
    return "".join(word.text for word in words).strip()


def _spoken_by(segment: Segment, name: str | None, to: str, *, all_words: bool = False) -> Segment:
    words = tuple(replace(word, speaker=to) if all_words or word.speaker == name else word for word in segment.words)
    return replace(segment, speaker=to if segment.speaker == name else segment.speaker, words=words)
