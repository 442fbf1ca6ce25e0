"""A transcript as HTML: times that seek the player, uncertain words marked, speakers named. Pure functions of values.

`panel.js` gives life to `data-seek` and `data-copy`. Everything a visitor or a model wrote is escaped here.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from urllib.parse import quote

from shared.languages import RIGHT_TO_LEFT, language_name
from shared.transcript import Segment, Transcript, Word
from shared.ui.server.messages import without_paths
from shared.ui.server.results import Result
from shared.units import short_clock, spoken_time

UNSURE = 0.5  # a word the model gave less than even odds is marked

EMPTY = '<div class="result-body"><div class="empty"><p>{}</p></div></div>'

SILENT = ('<div class="empty"><p>No speech was found. If there is some, lower “What counts as speech” under Advanced '
          "and try again.</p></div>")


def result_html(result: Result, known: str | None = None) -> str:
    """The whole panel but its downloads: notices, player, text, legend, and what answered.

    known: a notice that stands on the page already.
    """
    transcript = result.answer.transcript
    text = transcript_html(transcript) if transcript.segments else SILENT
    return f'<div class="result-body">{_notices(result, known)}{_player(result)}{text}{_facts(result)}</div>'


def transcript_html(transcript: Transcript) -> str:
    """Segments with their times, a Copy button, and a legend if a word is marked."""
    direction = "rtl" if transcript.language in RIGHT_TO_LEFT else "ltr"
    rows = "".join(_segment(segment) for segment in transcript.segments)
    legend = ""
    if any(map(_is_unsure, transcript.words)):
        legend = ('<p class="legend"><span class="unsure">Dotted</span> words are ones the model was unsure of; '
                  "hold the pointer over one to see how sure.</p>")
    head = '<h2>Transcript</h2><button type="button" class="quiet" data-copy>Copy text</button>'
    return (f'<div class="transcript-head">{head}</div><div class="transcript" lang="{escape(transcript.language)}" '
            f'dir="{direction}">{rows}</div>{legend}')


def _segment(segment: Segment) -> str:
    words = "".join(map(_word, segment.words)) if segment.words else escape(segment.text)
    speaker = ""
    if segment.speaker:
        number = segment.speaker.rpartition(" ")[2]
        speaker = f'<span class="speaker" data-speaker="{escape(number)}">{escape(segment.speaker)}</span> '
    start, clock = f"{segment.start:.3f}", short_clock(segment.start)
    return (f'<div class="segment" data-start="{start}" data-end="{segment.end:.3f}">'
            f'<button type="button" class="time" data-seek="{start}" aria-label="Play from {clock}">{clock}</button>'
            f'<p>{speaker}<span class="said">{words.strip()}</span></p></div>')


def _is_unsure(word: Word) -> bool:
    return word.probability < UNSURE and any(letter.isalnum() for letter in word.text)


def _word(word: Word) -> str:
    if not _is_unsure(word):
        return escape(word.text)
    space = " " if word.text.startswith(" ") else ""
    return (f'{space}<span class="unsure" title="The model was {word.probability:.0%} sure of this word">'
            f"{escape(word.text.strip())}</span>")


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


def _facts(result: Result) -> str:
    """One line: the language, which checkpoint answered, and at what pace."""
    answer = result.answer
    language = language_name(answer.transcript.language)
    checkpoint = without_paths(answer.checkpoint.describe())
    return (f'<p class="facts">{escape(language)} · {spoken_time(answer.transcript.duration)} of sound read in '
            f"{answer.seconds:.1f} s ({answer.rtfx:.1f}× real time) by {escape(checkpoint)}</p>")


