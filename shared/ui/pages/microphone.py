"""The microphone page: record, stop, read; or read while speaking."""

from __future__ import annotations

import gradio as gr

from shared.errors import UserError
from shared.serving import ON_ZERO_GPU, Request, Serving
from shared.ui import STATIC
from shared.ui.components import choices, example_clips
from shared.ui.components.panel import Panel, footing, heading
from shared.ui.server import live_sessions as live
from shared.ui.server import results
from shared.ui.server.jobs import job, messages
from shared.ui.server.results import received

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


def page(serving: Serving) -> None:
    """Render the page into the Blocks that is open."""
    heading("Microphone", "Press Record, speak, press Stop, and read what you said. With Live, read while you speak.",
            serving)
    with gr.Row(elem_classes="page"):
        with gr.Column(scale=2, min_width=300):
            is_live = gr.Checkbox(label="Live", value=False, interactive=not ON_ZERO_GPU, elem_id="microphone-live",
                                  info=live.OFF if ON_ZERO_GPU else "Read while you speak.")
            recording = gr.Audio(sources=["microphone"], type="filepath", label="Your recording", buttons=[],
                                 editable=False, elem_id="microphone-recording")
            start = gr.Button("Record live", variant="primary", visible=False, elem_id="microphone-start")
            chosen = choices.Choices()
            examples = example_clips.row()
        with gr.Column(scale=3, min_width=300):
            listening = gr.HTML("", html_template=LIVE_TEXT, css_template=LIVE_STYLE, elem_id="microphone-listening",
                                js_on_load=(STATIC / "live.js").read_text(encoding="utf-8"),
                                server_functions=[live.hear])
            panel = Panel("microphone", "What you say appears here.", serving=serving)
    footing(serving)

    def read(path, name, options, engine, work):
        work.says("finding speech")
        answer = serving.transcribe(Request(path, options, engine), progress=work.report, cancel=work.cancel)
        return panel.show(results.make(answer, path, name, cancel=work.cancel))

    def transcribe(recording, language, task, engine, beam_size, quiet_speech, names, speakers,
                   request: gr.Request, bar=gr.Progress()):  # noqa: B008
        with job(request, bar) as work, received(recording):
            if recording is None:
                raise UserError("Nothing was recorded yet", hint="press Record, speak, then press Stop")
            options = choices.read(language, task, beam_size, quiet_speech, names, speakers)
            return [*read(recording, "recording", options, engine, work), None]

    def transcribe_example(example, language, task, engine, beam_size, quiet_speech, names, speakers,
                           request: gr.Request, bar=gr.Progress()):  # noqa: B008
        with job(request, bar) as work:
            options = choices.read(language, task, beam_size, quiet_speech, names, speakers)
            clip = example_clips.clip(example)
            return read(clip.path, clip.file, options, engine, work)

    panel.runs([recording.stop_recording], transcribe, [recording, *chosen.inputs], outputs=[recording],
               api_name="transcribe_microphone", api_description="Transcribe a recording.")
    panel.runs([examples.click], transcribe_example, [examples, *chosen.inputs],
               api_name="transcribe_example", api_description="Transcribe one of the clips that come with the app.")
    _live(serving, panel, is_live, recording, start, listening, chosen)


def _live(serving: Serving, panel: Panel, is_live: gr.Checkbox, recording: gr.Audio, start: gr.Button,
          listening: gr.HTML, chosen: choices.Choices) -> None:
    """The Live switch: `live.js` records between `begin` and `finish`."""

    def begin(language, task, engine, beam_size, quiet_speech, names):
        with messages():
            options = choices.read(language, task, beam_size, quiet_speech, names)
            ticket = live.begin(serving, options, engine)
            return f"live:{ticket}", gr.Button(interactive=False)

    def finish(value, request: gr.Request, bar=gr.Progress()):  # noqa: B008
        with job(request, bar) as work:
            listener = live.taken(value.removeprefix("done:"))
            try:
                work.says("reading the last words")
                answer = listener.answer(work.cancel)
                return [*panel.show(results.make(answer, listener.path, "recording", cancel=work.cancel)), ""]
            finally:
                listener.close()

    def lose(value):
        live.drop(value.removeprefix("lost:"))

    quiet = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    is_live.change(lambda on: (gr.Audio(visible=not on), gr.Button(visible=on)), is_live, [recording, start], **quiet)
    start.click(begin, chosen.live_inputs, [listening, start], **quiet)
    done = panel.runs([listening.submit], finish, [listening], outputs=[listening], api_name=False, queue="live",
                      at_once=live.MOST_LISTENERS)
    for after in (done.success, done.failure):
        after(lambda: ("", gr.Button(interactive=True)), None, [listening, start], **quiet)
    listening.clear(lose, [listening], None, **quiet).then(
        lambda: gr.Button(interactive=True), None, start, **quiet)
