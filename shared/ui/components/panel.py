"""THE result panel, the same on every page: player with subtitles, text, corrections, downloads; and Stop beside it.

A page makes one `Panel` where it shall appear, wires its main action with `Panel.runs`, and returns
`Panel.show(result)` from it. The outputs begin with what a program wants (text, transcript, files), so a page's
action is its API as well.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

import gradio as gr

from shared.errors import UserError
from shared.serving import Serving
from shared.transcript import Segment, Transcript
from shared.ui.render.transcript import EMPTY, result_html
from shared.ui.server import jobs, messages, results
from shared.ui.server.messages import without_paths
from shared.ui.server.results import KEPT_SECONDS, Result

KEPT = ("What you send is deleted when you clear it or close the page, and after an hour at the latest. "
        "The text, its files and a copy of the sound for the player stay for an hour at most, at an address only your "
        "page knows. Nothing is used for anything else.")
MODEL_QUEUE = "model"  # one queue for all that needs the model, on all pages


def heading(title: str, text: str, serving: Serving) -> None:
    """A page's top: what it does, and a banner if the fine-tuned checkpoint is missing."""
    gr.HTML(f'<div class="heading"><h1>{escape(title)}</h1><p>{escape(text)}</p></div>')
    if serving.problem:
        gr.HTML(f'<p class="notice" role="alert">{escape(without_paths(serving.problem))}</p>')


def footing(serving: Serving) -> None:
    """A page's foot: what is kept and for how long, and which checkpoints are in use."""
    gr.HTML(f'<details class="footing"><summary>What is kept, and which models answer</summary><p>{escape(KEPT)}</p>'
            f"<p>{escape(without_paths(serving.line()))}</p></details>")


class Panel:
    """Rendered where it is made. page: a short name, unique in the app, for element and endpoint names."""

    def __init__(self, page: str, empty: str = "The text appears here.", *, serving: Serving | None = None) -> None:
        """serving: whose `problem` the page's heading shows already, so that no answer repeats it."""
        self.page = page
        self._known = serving.problem if serving else None
        self.stop = gr.Button("Stop", variant="stop", visible=False, elem_id=f"{page}-stop")
        self._empty = EMPTY.format(escape(empty))
        self.view = gr.HTML(self._empty, elem_id=f"{page}-result")
        with gr.Column(visible=False, elem_classes="after") as self.after:
            self.files = gr.File(label="Downloads", file_count="multiple", interactive=False,
                                 elem_id=f"{page}-downloads")
            with gr.Accordion("Correct the text", open=False):
                self.text = gr.Textbox(label="Text", info="One passage per line, as above. The downloads take your "
                                       "corrections over.", lines=4, max_lines=16, buttons=["copy"],
                                       elem_id=f"{page}-text")
                self.save = gr.Button("Save corrections", variant="primary", size="sm")
        self.data = gr.JSON(visible=False)
        self.state = gr.State(None, time_to_live=KEPT_SECONDS)
        self.stop.click(_stop, api_name=f"stop_{page}", queue=False, api_visibility="undocumented")
        self.corrected = self.save.click(self._save, [self.state, self.text], self.outputs,
                                         api_name=f"correct_{page}", api_visibility="undocumented")

    @property
    def outputs(self) -> list[gr.components.Component | gr.blocks.BlockContext]:
        """Text, transcript as JSON, files, HTML, and two for the page itself."""
        return [self.text, self.data, self.files, self.view, self.after, self.state]

    def show(self, result: Result) -> list[Any]:
        """The values of `outputs` for a result (`results.make`)."""
        transcript = result.answer.transcript
        return ["\n".join(segment.text for segment in transcript.segments), transcript.to_dict(),
                [str(path) for path in result.files], result_html(result, self._known), gr.Column(visible=True), result]

    def runs(self, triggers: Sequence[Callable], work: Callable, inputs: Sequence[gr.components.Component], *,
             outputs: Sequence[Any] = (), queue: str = MODEL_QUEUE, at_once: int = 1,
             clear: Mapping[Any, Any] | None = None, **event: Any) -> gr.events.Dependency:
        """Wire a page's action: any trigger starts `work`, in the model's queue, with Stop in sight while it runs.

        Args:
            triggers: events of components, such as `button.click`.
            work: a function of the inputs' values (see `form.handler`); gives `show(…)` and a value for each output.
            inputs: the controls whose values `work` gets.
            outputs: components besides the panel's own.
            queue, at_once: for work that mostly waits for others.
            clear: values for components besides the panel's own that hold the former result.
            event: api_name and so on, as for any of Gradio's events.

        Returns:
            The event.
        """
        return with_stop(self.stop, self.view, triggers, work, inputs, [*self.outputs, *outputs],
                         clear={self.view: self._empty, self.after: gr.Column(visible=False), **(clear or {})},
                         concurrency_id=queue, concurrency_limit=at_once, **event)

    def _save(self, result: Result | None, text: str) -> list[Any]:
        with messages.shown():
            if result is None:
                raise UserError("There is no text to correct any more",
                                hint="transcribe again; results stay an hour at most")
            transcript = corrected(result.answer.transcript, text)
            answer = dataclasses.replace(result.answer, transcript=transcript)
            files = results.write_formats(answer, result.folder, result.name)
            return self.show(dataclasses.replace(result, answer=answer, files=files))


def with_stop(
    stop: gr.Button, view: gr.HTML, triggers: Sequence[Callable], work: Callable, inputs: Sequence[Any],
    outputs: Sequence[Any], *, clear: Mapping[Any, Any] | None = None, **event: Any,
) -> gr.events.Dependency:
    """Any trigger starts `work`; while it runs, `stop` is there and `view` is in sight and shows how far it is.

    clear: values that take the place of the former result at once, so that it never stands under an error. event: as
    for any of Gradio's. Returns the event.
    """
    cleared = clear or {}
    look = (f"() => {{ document.getElementById('{view.elem_id}').scrollIntoView({{block: 'nearest'}}); "
            "return []; }")  # what it returns would be the inputs
    shown = gr.on(triggers, lambda: {stop: gr.Button(visible=True), **cleared}, None, [stop, *cleared], queue=False,
                  show_progress="hidden", api_visibility="private", js=look)
    # Programs have the five tools of `shared.ui.tools`; what a page does is the page's own.
    event = {"api_visibility": "undocumented", **event}
    done = shown.then(work, list(inputs), list(outputs), show_progress_on=view, **event)
    for after in (done.success, done.failure):  # the browser runs `then` after a success only
        after(lambda: gr.Button(visible=False), None, stop, queue=False, show_progress="hidden",
              api_visibility="private")
    return done


def _stop(request: gr.Request) -> None:
    if not jobs.stop(request):
        messages.info("Nothing is running.")


def corrected(transcript: Transcript, text: str) -> Transcript:
    """The transcript with each segment's text replaced by a line of `text`. An emptied line removes its segment.

    A changed segment loses its word times, which were those of other words. Raises UserError if lines are missing.
    """
    lines = text.split("\n")
    while len(lines) > len(transcript.segments) and not lines[-1].strip():
        lines.pop()
    if len(lines) != len(transcript.segments):
        raise UserError("The corrections no longer match the passages", got=f"{len(lines)} lines",
                        limit=f"{len(transcript.segments)} passages", hint="keep one line for each passage")
    pairs = zip(transcript.segments, lines, strict=True)
    segments = (_corrected(segment, " ".join(line.split())) for segment, line in pairs if line.strip())
    return dataclasses.replace(transcript, segments=tuple(segments))


def _corrected(segment: Segment, line: str) -> Segment:
    return segment if line == segment.text.strip() else dataclasses.replace(segment, text=line, words=())
