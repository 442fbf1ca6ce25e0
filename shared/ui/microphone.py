"""The microphone page: record, stop, read."""

from __future__ import annotations

import gradio as gr

from shared.errors import UserError
from shared.serving import Serving
from shared.ui import choices, example_clips, results
from shared.ui.jobs import job
from shared.ui.panel import Panel, footing, heading
from shared.ui.results import received


def page(serving: Serving) -> None:
    """Render the page into the Blocks that is open."""
    heading("Microphone", "Press Record, speak, press Stop, and read what you said.", serving)
    with gr.Row(elem_classes="page"):
        with gr.Column(scale=2, min_width=300):
            recording = gr.Audio(sources=["microphone"], type="filepath", label="Your recording", buttons=[],
                                 editable=False, elem_id="microphone-recording")
            chosen = choices.Choices()
            examples = example_clips.row()
        with gr.Column(scale=3, min_width=300):
            panel = Panel("microphone", "What you say appears here.", serving=serving)
    footing(serving)

    def read(path, name, options, engine, work):
        work.says("finding speech")
        answer = serving.transcribe(path, options, engine=engine, progress=work.report, cancel=work.cancel)
        return panel.show(results.make(answer, path, name, cancel=work.cancel))

    def transcribe(recording, language, task, engine, beam_size, quiet_speech, names, request: gr.Request,
                   bar=gr.Progress()):  # noqa: B008
        with job(request, bar) as work, received(recording):
            if recording is None:
                raise UserError("Nothing was recorded yet", todo="press Record, speak, then press Stop")
            options = choices.read(language, task, beam_size, quiet_speech, names)
            return [*read(recording, "recording", options, engine, work), None]

    def transcribe_example(example, language, task, engine, beam_size, quiet_speech, names, request: gr.Request,
                           bar=gr.Progress()):  # noqa: B008
        with job(request, bar) as work:
            options = choices.read(language, task, beam_size, quiet_speech, names)
            clip = example_clips.clip(example)
            return read(clip.path, clip.file, options, engine, work)

    panel.runs([recording.stop_recording], transcribe, [recording, *chosen.inputs], outputs=[recording],
               api_name="transcribe_microphone", api_description="Transcribe a recording.")
    panel.runs([examples.click], transcribe_example, [examples, *chosen.inputs],
               api_name="transcribe_example", api_description="Transcribe one of the clips that come with the app.")
