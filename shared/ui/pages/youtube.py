"""The page for links: paste one, see what it is, choose a part, read its text.

Links have a lane of their own in the queue, so a slow server keeps nobody waiting; the model's own work takes turns.
"""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass
from html import escape
from typing import Any
from urllib.parse import unquote

import gradio as gr

from shared import link as links
from shared.errors import UserError
from shared.languages import language_name
from shared.link import link_error
from shared.serving import Answer, Serving
from shared.ui import ROOT
from shared.ui.components.choices import Choices, How
from shared.ui.components.form import handler
from shared.ui.components.go import Go
from shared.ui.components.panel import Panel, footing, heading, with_stop
from shared.ui.render import alignment as diff
from shared.ui.server import jobs, reading
from shared.ui.server.jobs import Job
from shared.units import megabytes, parse_time, short_clock, spoken_time
from shared.wer import word_errors

MAX_SECONDS, MAX_BYTES = 12 * 3600.0, 4_000_000_000  # where the app has no limits of its own
NO_REFERENCE = "none"


@dataclass(frozen=True)
class AskedLookUp:
    """link: what is to be looked up."""

    link: str | None


@dataclass(frozen=True)
class AskedLink:
    """start, end: times as a person writes them. captions: the language to compare with, or NO_REFERENCE."""

    link: str
    start: str | None
    end: str | None
    captions: str | None
    how: How


@dataclass(frozen=True)
class AskedFile:
    """file: path of what was sent where a link cannot be had."""

    file: str | None
    how: How


def page(serving: Serving) -> None:
    """Render the page into the Blocks that is open."""
    heading("Links", "Paste a link to a video, and read what is said in it. Only its sound is fetched.",
            serving)
    with gr.Row(elem_classes="page"):
        with gr.Column(scale=2, min_width=300):
            link = gr.Textbox(label="Link", placeholder="https://www.youtube.com/watch?v=…", max_length=2000,
                              elem_id="youtube-link")
            look = gr.Button("Look it up", elem_id="youtube-look")
            stop = gr.Button("Stop", variant="stop", visible=False, elem_id="youtube-look-stop")
            with gr.Column(visible=False) as about:
                card = gr.HTML(elem_id="youtube-card")
            found = gr.JSON(visible=False)
            with gr.Column(visible=False) as part:
                with gr.Row():
                    start = gr.Textbox("", label="From", placeholder="beginning, or 1:30", min_width=100, max_length=12,
                                       elem_id="youtube-start")
                    end = gr.Textbox("", label="To", placeholder="end", min_width=100, max_length=12,
                                     elem_id="youtube-end")
                captions = gr.Dropdown([("Do not compare", NO_REFERENCE)], value=NO_REFERENCE, visible=False,
                                       label="Compare with the video's own captions",
                                       info="Those that people wrote; automatic ones come from a program.")
            with gr.Accordion("Or choose a file instead", open=False, elem_id="youtube-file-fold") as fold:
                file = gr.File(label="Audio or video file", type="filepath", height=140, elem_id="youtube-file")
                again = gr.Button("Transcribe the file again", visible=False, elem_id="youtube-again")
            chosen = Choices(serving.known_languages, limits=serving.limits)
            go = Go("Transcribe", "Paste a link and look it up first.", elem_id="youtube-go")
        with gr.Column(scale=3, min_width=300):
            panel = Panel("youtube", serving=serving)
            with gr.Column(visible=False) as below:
                score = gr.HTML(elem_id="youtube-score", elem_classes="result")
    footing(serving)
    max_seconds, max_bytes = serving.limits.max_seconds or MAX_SECONDS, serving.limits.max_bytes or MAX_BYTES

    def look_up(asked: AskedLookUp, work: Job) -> list[Any]:
        work.says("asking what is behind the link")
        info = links.look(_given(asked.link), cancel=work.cancel)
        ready = not info.live
        languages = [("Do not compare", NO_REFERENCE)]
        languages += [(f"{_language(code)} ({code})", code) for code in info.reference_languages]
        # The part and the captions that were chosen stay where the same link is looked up again; another link forgets
        # them, as soon as it is there.
        return [{**asdict(info), "reference_languages": info.reference_languages},
                _card(info, max_seconds, max_bytes), short_clock(info.start) if info.start else gr.skip(), gr.skip(),
                gr.Column(visible=True), gr.Column(visible=ready),
                gr.Dropdown(languages, visible=len(languages) > 1), *go.ready(ready)]

    def transcribe(asked: AskedLink, work: Job) -> list[Any]:
        with tempfile.TemporaryDirectory(prefix="link-", dir=ROOT) as folder:
            start, end = seconds(asked.start), seconds(asked.end)
            captions = None if asked.captions in (None, "", NO_REFERENCE) else asked.captions
            options = asked.how.options
            _check_reference(captions, start, end, options.task)
            work.says("fetching the sound")
            path = links.download(_given(asked.link), folder, part=links.Part(start, end), max_seconds=max_seconds,
                                  max_bytes=max_bytes, cancel=work.cancel,
                                  progress=lambda fraction, text: work.says(text, fraction))
            reference = None
            if captions:
                work.says("fetching the captions")
                reference = links.human_captions(asked.link, captions, cancel=work.cancel)
            made = reading.read(serving, asked.how.request(path, start or 0.0, end), work,
                                _name(asked.link))
            html = _score(made.answer, reference, captions) if captions and not work.cancel.is_set() else ""
            return [*panel.show(made), html, gr.Column(visible=bool(html))]

    def transcribe_file(asked: AskedFile, work: Job) -> list[Any]:
        if asked.file is None:
            raise UserError("No file was chosen yet", hint="choose an audio or video file")
        made = reading.read(serving, asked.how.request(asked.file), work)
        return [*panel.show(made), "", gr.Column(visible=False)]

    panel.keeps(file=file)
    file.change(lambda path: gr.Accordion(open=True) if path else gr.skip(), file, fold, queue=False,
                show_progress="hidden", api_visibility="private")
    file.change(lambda path: gr.Button(visible=path is not None), file, again, queue=False, show_progress="hidden",
                api_visibility="private")
    looked = with_stop(stop, panel.view, [look.click, link.submit], handler(AskedLookUp, look_up, lane=jobs.LINKS),
                       [link], [found, card, start, end, about, part, captions, *go.parts],
                       api_name="look_up_link")
    # `input` of a text box tells of keys alone, not of what is pasted.
    link.change(lambda: [gr.Column(visible=False), gr.Column(visible=False), "", "", NO_REFERENCE, *go.ready(False)],
               None, [about, part, start, end, captions, *go.parts], queue=False, show_progress="hidden",
               api_visibility="private")
    hidden = {below: gr.Column(visible=False)}
    read = panel.runs([go.click], handler(AskedLink, transcribe, lane=jobs.LINKS, page=panel.page),
                      [link, start, end, captions, *chosen.inputs], outputs=[score, below], clear=hidden,
                      api_name="transcribe_video")
    panel.runs([file.upload, again.click], handler(AskedFile, transcribe_file, files=("file",), page=panel.page),
               [file, *chosen.inputs], outputs=[score, below], clear=hidden, api_name="transcribe_video_file")
    panel.reopens([score, below], hidden)
    stop.click(jobs.stop, None, None, queue=False, show_progress="hidden", api_visibility="private")
    for event in (looked, read):
        event.failure(lambda: gr.Accordion(open=True), None, fold, queue=False, show_progress="hidden",
                      api_visibility="private")


def seconds(text: str | None) -> float | None:
    """A typed time in seconds, None for nothing. Raises UserError for what is no time."""
    return parse_time(text) if text and text.strip() else None


def _given(link: str | None) -> str:
    if link is None or not link.strip():
        raise link_error("malformed", got="nothing")
    return link


def _name(link: str) -> str:
    """What the downloads are called: the video's id, or the media file's name."""
    where = links.parse_link(link)
    if isinstance(where, links.Video):
        return where.id
    return unquote(where.path.partition("?")[0].rpartition("/")[2]) or where.host


def _check_reference(language: str | None, start: float | None, end: float | None, task: str) -> None:
    if language and (start or end):
        raise UserError("A part cannot be compared with the captions of the whole video", got="a chosen start or end",
                        hint="transcribe the whole video, or do not compare")
    if language and task != "transcribe":
        raise UserError("A translation cannot be compared with captions", got=task, hint="choose “Transcribe”")


def _card(info: links.LinkInfo, max_seconds: float, max_bytes: int) -> str:
    """What is behind the link. The picture is YouTube's, asked for without saying from which page."""
    picture = ""
    if info.thumbnail:
        picture = (f'<img src="{escape(info.thumbnail)}" alt="" referrerpolicy="no-referrer" '
                   'onerror="this.remove()">')
    known = [spoken_time(info.duration) if info.duration else "length unknown",
             megabytes(info.size) if info.size else "",
             f"starts at {short_clock(info.start)}" if info.start else ""]
    notes = []
    if info.live:
        notes.append("This is a live stream that is still running. Come back when it is over, or choose a file.")
    if info.duration and info.duration > max_seconds:
        notes.append(f"This is longer than the {spoken_time(max_seconds)} this app reads: choose a part of it.")
    if info.size and info.size > max_bytes:
        notes.append(f"Its sound is larger than the {megabytes(max_bytes)} this app fetches: choose a file instead.")
    if info.captions and not info.reference_languages:
        notes.append("Its captions are automatic, so there is nothing to compare with.")
    warned = "".join(f'<p class="notice" role="status">{escape(note)}</p>' for note in notes)
    return (f'<div class="video">{picture}<div><h2>{escape(info.title)}</h2>'
            f"<p>{escape(' · '.join(filter(None, known)))}</p></div></div>{warned}")


def _language(code: str) -> str:
    return language_name(code.split("-")[0].lower())


def _score(answer: Answer, reference: str | None, language: str) -> str:
    """How far the text is from the captions. One video is one utterance: counts, no interval."""
    if reference is None or not reference.strip():
        return '<p class="notice" role="status">These captions hold no text, so there is nothing to compare with.</p>'
    spoken, text = language.split("-")[0].lower(), answer.transcript.text
    if spoken != answer.transcript.language:
        return (f'<p class="notice" role="status">The captions are in {escape(_language(language))}, the speech is '
                f"in {escape(_language(answer.transcript.language))}, so they were not compared.</p>")
    errors, raw = word_errors(reference, text, spoken), word_errors(reference, text, spoken, raw=True)
    table = diff.rates_table(["against the captions"], [
        ("Word error rate", [diff.rate(errors)]), ("Counts", [diff.counts(errors)]), ("As written", [diff.rate(raw)])])
    return (f'<div class="comparison"><h2>Compared with the captions</h2>{table}{diff.aligned_html(errors, spoken)}'
            f'{diff.LEGEND}<p class="small">Captions often leave words out or tidy them, so this counts differences, '
            "not only mistakes. One video is too short to tell how good a model is.</p></div>")
