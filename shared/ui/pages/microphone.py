"""The microphone page: record, stop, read; or read while speaking."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import gradio as gr

from shared.api import LANE_OF_SHORT
from shared.checkpoint import Account
from shared.errors import Cancelled, UserError
from shared.serving import ON_ZERO_GPU, Answer, Serving
from shared.ui import STATIC
from shared.ui.components import example_clips
from shared.ui.components.choices import Choices, How, LiveHow
from shared.ui.components.example_clips import AskedExample
from shared.ui.components.form import handler, quick_handler
from shared.ui.components.go import Go
from shared.ui.components.panel import Panel, footing, heading
from shared.ui.server import jobs, live_sessions, messages, reading, received, results
from shared.ui.server.jobs import Job
from shared.ui.server.live_sessions import LiveSession
from shared.ui.server.received import page_of
from shared.ui.server.results import Recording, Result

WHOLE_SECONDS = 4.0  # that reading all of a live recording once more may take before it is left to the visitor
LIVE_TEXT = """<div class="live" hidden>
<div class="live-head"><span class="live-dot"></span><span data-live="state"></span>
<span data-live="clock">0:00</span><button type="button" class="quiet" data-live="stop">Stop</button></div>
<p class="notice" role="status" data-live="problem" hidden></p>
<div class="live-text" aria-live="polite"><span data-live="committed"></span><span data-live="tentative"></span></div>
</div>"""
LIVE_STYLE = """
.live { border: 1px solid var(--border-color-primary); border-radius: var(--block-radius); padding: 1rem;
  background: var(--block-background-fill); }
.live[hidden], .live [hidden] { display: none; }
.live-head { display: flex; gap: .6rem; align-items: center; margin-bottom: .6rem; }
.live-head [data-live="clock"] { font-variant-numeric: tabular-nums; color: var(--body-text-color-subdued); flex: 1; }
.live-dot { width: .7rem; height: .7rem; border-radius: 50%; background: #d1242f; animation: live 1.6s infinite; }
@keyframes live { 50% { opacity: .35; } }
@media (prefers-reduced-motion: reduce) { .live-dot { animation: none; } }
.live-text { min-height: 7rem; max-height: 24rem; overflow-y: auto; line-height: 1.6; white-space: pre-wrap;
  overflow-wrap: anywhere; }
.live-text [data-live="tentative"] { color: var(--body-text-color-subdued); font-style: italic; opacity: .8; }
"""


@dataclass(frozen=True)
class AskedRecording:
    """recording: path of what was recorded."""

    recording: str | None
    how: How


@dataclass(frozen=True)
class AskedLive:
    """Nothing but the choices: the sound comes later."""

    how: LiveHow


def page(serving: Serving) -> None:
    """Render the page into the Blocks that is open."""
    heading("Microphone", "Press Record, speak, press Stop, and read what you said. With Live, read while you speak.",
            serving)
    with gr.Row(elem_classes="page"):
        with gr.Column(scale=2, min_width=300):
            is_live = gr.Checkbox(label="Live", value=False, interactive=not ON_ZERO_GPU, elem_id="microphone-live",
                                  info=live_sessions.OFF if ON_ZERO_GPU else "Read while you speak.")
            recording = gr.Audio(sources=["microphone"], type="filepath", label="Your recording", buttons=[],
                                 editable=False, elem_id="microphone-recording")
            examples = example_clips.row()
            chosen = Choices(serving.known_languages, limits=serving.limits)
            start = gr.Button("Record live", variant="primary", visible=False, elem_id="microphone-start")
            again = gr.Button("Read again in full", visible=False, elem_id="microphone-again")
            go = Go("Transcribe", "Record something first, or try an example.", elem_id="microphone-go")
        with gr.Column(scale=3, min_width=300):
            live_text = gr.HTML("", html_template=LIVE_TEXT, css_template=LIVE_STYLE, elem_id="microphone-listening",
                                js_on_load=(STATIC / "live.js").read_text(encoding="utf-8"),
                                server_functions=[live_sessions.receive])
            panel = Panel("microphone", "What you say appears here.", serving=serving)
    footing(serving)

    def read(path: str, name: str, how: How, work: Job) -> list[Any]:
        return panel.show(reading.read(serving, how.request(path), work, name))

    def transcribe(asked: AskedRecording, work: Job) -> list[Any]:
        if asked.recording is None:
            raise UserError("Nothing was recorded yet", hint="press Record, speak, then press Stop")
        return read(asked.recording, "recording", asked.how, work)

    def transcribe_example(asked: AskedExample, work: Job) -> list[Any]:
        clip = example_clips.clip(asked.example)
        return read(clip.path, clip.file, asked.how, work)

    panel.keeps(recording=recording)
    panel.reopens()
    panel.runs([recording.stop_recording, go.click],
               handler(AskedRecording, transcribe, files=("recording",), page=panel.page), [recording, *chosen.inputs],
               api_name="transcribe_microphone")
    panel.runs([examples.click], handler(AskedExample, transcribe_example, lane=LANE_OF_SHORT, page=panel.page),
               [examples, *chosen.inputs], api_name="transcribe_example")
    _live(serving, panel, _LiveControls(is_live, recording, go, start, live_text, again, chosen), transcribe)


def _whole(serving: Serving, session: LiveSession, live: Answer, work: Job) -> Result:
    """A live recording's result: all of it read at once where that takes little time, else the text as it came."""
    if reading.seconds_for(live.transcript.duration, live.seconds) <= WHOLE_SECONDS:
        with suppress(Cancelled):
            work.part("")
            return reading.read(serving, session.request, work, "recording")
    source = Recording(session.sound.path, task=session.request.options.task)
    made = results.make(live, source, "recording", owner=work.asker.owner)
    work.result_ids.append(made.id)
    return made


@dataclass(frozen=True)
class _LiveControls:
    """What the Live switch has to do with. text: shows it, and holds the ticket."""

    switch: gr.Checkbox
    recording: gr.Audio
    go: Go
    start: gr.Button
    text: gr.HTML
    again: gr.Button
    chosen: Choices


def _live(serving: Serving, panel: Panel, controls: _LiveControls, transcribe: Callable) -> None:
    """The Live switch: `live.js` records between `begin` and `finish`; `transcribe` reads the recording again."""
    sessions = live_sessions.sessions

    def begin(asked: AskedLive, request: gr.Request, account: Account | None) -> tuple[str, gr.Button]:
        ticket = sessions.begin(serving, asked.how.options, asked.how.engine, request, asked.how.checkpoint, account)
        return f"live:{ticket}", gr.Button(interactive=False)

    async def finish(value: str, request: gr.Request) -> list[Any]:
        def work(running: Job) -> list[Any]:
            with sessions.finishing(value.removeprefix("done:")) as session:
                running.says("reading the last words")
                answer = session.answer(running.cancel)
                made = _whole(serving, session, answer, running)
                session.sound.is_kept = received.keep(page_of(request), "live", session.sound.path)
                kept = str(session.sound.path) if session.sound.is_kept else None
                return [*panel.show(made), "", kept, gr.Button(visible=kept is not None)]

        with messages.shown():
            running = jobs.submit(jobs.Asker.of(request, panel.page), work, lane=jobs.LIVE)
            return await jobs.awaited(running)

    def lose(value: str) -> None:
        sessions.drop(value.removeprefix("lost:"))

    def shown(on: bool, path: str | None) -> list[Any]:
        return [gr.Audio(visible=not on), gr.Button(visible=on), *go.ready(path is not None, shown=not on)]

    again, kept_path = controls.again, gr.State(None)
    switch, recording, start, text, go = (controls.switch, controls.recording, controls.start, controls.text,
                                          controls.go)
    quiet: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    gr.on([switch.change, recording.change], shown, [switch, recording], [recording, start, *go.parts], **quiet)
    start.click(quick_handler(AskedLive, begin), controls.chosen.named(LiveHow.VALUES), [text, start], **quiet)
    done = panel.runs([text.submit], finish, [text], outputs=[text, kept_path, again], api_visibility="private")
    for after in (done.success, done.failure):
        after(lambda: ("", gr.Button(interactive=True)), None, [text, start], **quiet)
    panel.runs([again.click], handler(AskedRecording, transcribe, files=("recording",), page=panel.page),
               [kept_path, *controls.chosen.inputs], api_visibility="private")
    start.click(lambda: gr.Button(visible=False), None, again, **quiet)

    def back(request: gr.Request) -> list[Any]:
        """A reloaded page may have the last live recording read again as well."""
        paths = received.given_back(request.session_hash, "live")
        return [paths[0], gr.Button(visible=True)] if paths else [gr.skip(), gr.skip()]

    panel.opened.then(back, None, [kept_path, again], **quiet)
    text.clear(lose, [text], None, **quiet).then(lambda: gr.Button(interactive=True), None, start, **quiet)
