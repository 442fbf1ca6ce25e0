"""A transcript as HTML: a place to read and to work in. Pure functions of values.

`panel.js` gives life to what has a `data-` name: times that seek the player, lines that can be changed, speakers that
can be renamed. Everything a visitor or a model wrote is escaped here.
"""

from __future__ import annotations

from dataclasses import replace
from html import escape
from pathlib import Path
from urllib.parse import quote

from shared.languages import RIGHT_TO_LEFT, language_name
from shared.transcript import Segment, Transcript, Word
from shared.ui.server import uses
from shared.ui.server.messages import without_paths
from shared.ui.server.results import Result, can_undo
from shared.units import short_clock, spoken_time

UNSURE = 0.5  # a word the model gave less than even odds is marked

EMPTY = '<div class="result-body"><div class="empty"><p>{}</p></div></div>'

SILENT = ('<div class="empty"><p>No speech was found. If there is some, lower “What counts as speech” under Advanced '
          "and try again.</p></div>")


def result_html(result: Result, known: str | None = None, page: str = "") -> str:
    """The whole panel: notices, player, tools, text, downloads, and what answered.

    known: a notice that stands on the page already. page: short name, for the id of the downloads.
    """
    transcript = result.answer.transcript
    text = transcript_html(transcript) if transcript.segments else SILENT
    tools = _tools(transcript, can_undo(result)) if transcript.segments else ""
    return (f'<div class="result-body" data-result="{escape(result.id)}" data-version="{result.version}">'
            f'{_notices(result, known)}{_player(result)}{tools}<div class="text">{text}</div>'
            f'<p class="note" role="status" data-note></p>{_downloads(result, page)}{_facts(result)}</div>')


def transcript_html(transcript: Transcript, *, words: bool = False) -> str:
    """Lines with their times. words: with the time of each word."""
    direction = "rtl" if transcript.language in RIGHT_TO_LEFT else "ltr"
    numbers = {name: i for i, name in enumerate(dict.fromkeys(
        segment.speaker for segment in transcript.segments if segment.speaker), 1)}
    rows = "".join(_segment(i, segment, numbers, words) for i, segment in enumerate(transcript.segments))
    return (f'<div class="transcript" lang="{escape(transcript.language)}" dir="{direction}" '
            f'data-unsure-words="{sum(map(_is_unsure, transcript.words))}">{rows}</div>')


def _tools(transcript: Transcript, is_changed: bool) -> str:
    """What can be done with the text; each is a button of its own, so that keyboards and fingers reach it."""
    timed = bool(transcript.words)
    unsure = sum(map(_is_unsure, transcript.words))
    buttons = ['<button type="button" class="quiet" data-copy="text">Copy text</button>',
               '<button type="button" class="quiet" data-copy="times">Copy with times</button>']
    if timed:
        buttons.append('<button type="button" class="quiet" data-words aria-pressed="false">Word times</button>')
    if unsure:
        buttons.append(f'<button type="button" class="quiet" data-unsure>Unsure words: {unsure}</button>')
    buttons += [f'<button type="button" class="quiet" data-use="{escape(use.name)}">{escape(use.label)}</button>'
                for use in uses.offered()]
    disabled = "" if is_changed else " disabled"
    buttons.append(f'<button type="button" class="quiet" data-undo{disabled}>Undo</button>')
    return ('<div class="transcript-head"><h2>Transcript</h2><input type="search" class="find" data-find '
            'placeholder="Find" aria-label="Find in the text"><span class="found" role="status" data-found></span>'
            f'{"".join(buttons)}</div><p class="legend">Click a line to change it, a time to hear it'
            f'{", a name to rename the speaker" if any(s.speaker for s in transcript.segments) else ""}. '
            'Enter parts a line in two.</p>')


def _segment(index: int, segment: Segment, numbers: dict[str, int], with_times: bool) -> str:
    write = _timed_word if with_times else _word
    words = "".join(map(write, segment.words)) if segment.words else escape(segment.text)
    speaker = ""
    if segment.speaker:
        name = escape(segment.speaker)
        speaker = (f'<button type="button" class="speaker" data-speaker="{numbers[segment.speaker]}" '
                   f'data-name="{name}" title="Rename">{name}</button> ')
    start, clock = f"{segment.start:.3f}", short_clock(segment.start)
    return (f'<div class="segment" data-index="{index}" data-start="{start}" data-end="{segment.end:.3f}">'
            f'<button type="button" class="time" data-seek="{start}" aria-label="Play from {clock}">{clock}</button>'
            f'<div class="line">{speaker}<span class="said" contenteditable="true" role="textbox" '
            f'aria-label="Line at {clock}">{words.strip()}</span>'
            '<span class="line-tools"><button type="button" class="quiet" data-split>Split here</button>'
            '<button type="button" class="quiet" data-join>Join with next</button></span></div></div>')


def _is_unsure(word: Word) -> bool:
    return word.probability < UNSURE and any(letter.isalnum() for letter in word.text)


def _word(word: Word) -> str:
    if not _is_unsure(word):
        return escape(word.text)
    space = " " if word.text.startswith(" ") else ""
    return (f'{space}<span class="unsure" title="The model was {word.probability:.0%} sure of this word">'
            f"{escape(word.text.strip())}</span>")


def _timed_word(word: Word) -> str:
    """With its time in an attribute, which the style shows: it is no part of the text that is edited or copied."""
    space = " " if word.text.startswith(" ") else ""
    inner = _word(replace(word, text=word.text.strip()))
    return f'{space}<span class="timed" data-at="{escape(precise_clock(word.start))}">{inner}</span>'


def precise_clock(seconds: float) -> str:
    """A place in a recording to the tenth of a second, as in 1:02.5."""
    tenths = round(max(seconds, 0.0) * 10)
    return f"{short_clock(tenths // 10)}.{tenths % 10}"


def _notices(result: Result, known: str | None) -> str:
    texts = [result.answer.notice, *result.answer.transcript.warnings]
    shown = [without_paths(text) for text in texts if text and text != known]
    return "".join(f'<p class="notice" role="status">{escape(text)}</p>' for text in shown)


def _player(result: Result) -> str:
    """The browser's own player: unlike a drawn waveform it streams, so three hours cost no more than three minutes."""
    if result.player is None:
        return ""
    language = escape(result.answer.transcript.language)
    return (f'<audio class="player" controls preload="metadata" src="{_address(result.player)}">'
            f'<track kind="captions" src="{_address(result.subtitles)}" srclang="{language}" default>'
            '</audio><p class="caption" aria-live="off"></p>')


def _address(path: Path) -> str:
    return escape(f"./gradio_api/file={quote(str(path))}")


def _downloads(result: Result, page: str) -> str:
    """A link for each format. The version is in the address, so that no browser gives an older one."""
    links = "".join(f'<a href="{_address(path)}?v={result.version}" download="{escape(path.name)}">'
                    f"{escape(path.suffix.lstrip('.').upper())}</a>" for path in result.files)
    return f'<div class="downloads" id="{escape(page)}-downloads"><span>Download</span>{links}</div>'


def _facts(result: Result) -> str:
    """One line: the language, which checkpoint answered, and at what pace."""
    answer = result.answer
    language = language_name(answer.transcript.language)
    checkpoint = without_paths(answer.checkpoint.describe())
    return (f'<p class="facts">{escape(language)} · {spoken_time(answer.transcript.duration)} of sound read in '
            f"{answer.seconds:.1f} s ({answer.rtfx:.1f}× real time) by {escape(checkpoint)}</p>")
