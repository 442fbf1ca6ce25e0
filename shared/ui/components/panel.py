"""The result panel of the pages that transcribe: the text to read and change, and downloads; each page's top and foot.

The outputs begin with what a program wants (text, transcript, files), so a page's action is its API as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

import gradio as gr

from shared.serving import Serving
from shared.ui.components.work_panel import QUIET, WorkPanel
from shared.ui.render.transcript import result_html
from shared.ui.server.messages import without_paths
from shared.ui.server.results import Result

KEPT = ("What you send is deleted when you clear it, when you have closed the last page for two minutes, and after an "
        "hour at the latest. The text, its files and a copy of the sound for the player stay for an hour at most, at "
        "an address only your browser knows. Nothing is used for anything else.")


def heading(title: str, text: str, serving: Serving) -> None:
    """A page's top: what it does, and a banner if the fine-tuned checkpoint is missing."""
    gr.HTML(f'<div class="heading"><h1>{escape(title)}</h1><p>{escape(text)}</p></div>')
    if serving.problem:
        gr.HTML(f'<p class="notice" role="alert">{escape(without_paths(serving.problem))}</p>')


def footing(serving: Serving) -> None:
    """A page's foot: what is kept and for how long, and which checkpoints are in use."""
    gr.HTML(f'<details class="footing"><summary>What is kept, and which models answer</summary><p>{escape(KEPT)}</p>'
            f"<p>{escape(without_paths(serving.line()))}</p></details>")


class Panel(WorkPanel):
    """Of transcripts. Rendered where it is made."""

    def __init__(self, page: str, empty: str = "The text appears here.", *, serving: Serving | None = None) -> None:
        """serving: whose `problem` the page's heading shows already, so that no answer repeats it."""
        super().__init__(page, empty, Result)
        self._known = serving.problem if serving else None
        self.recent()
        # For programs: the page itself has links, and lines that can be changed.
        text, data = gr.Textbox(visible=False), gr.JSON(visible=False)
        self.outputs = [text, data, gr.File(file_count="multiple", visible=False), self.view]

    def show(self, result: Result) -> list[Any]:
        transcript = result.answer.transcript
        return ["\n".join(segment.text for segment in transcript.segments), transcript.to_dict(),
                [str(path) for path in result.files], result_html(result, self._known, self.page)]


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
    shown = gr.on(triggers, lambda: {stop: gr.Button(visible=True), **cleared}, None, [stop, *cleared], js=look,
                  **QUIET)
    event = {"api_visibility": "undocumented", **event}
    done = shown.then(work, list(inputs), list(outputs), show_progress_on=view, **event)
    for after in (done.success, done.failure):  # the browser runs `then` after a success only
        after(lambda: gr.Button(visible=False), None, stop, **QUIET)
    return done
