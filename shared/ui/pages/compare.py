"""The page for comparing: base and fine-tuned on the same speech, one clip or a whole test set.

Nothing is routed by language here: both sides do exactly what is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from shared.errors import UserError
from shared.serving import Request, Serving
from shared.ui.components import example_clips
from shared.ui.components.form import clearable, handler
from shared.ui.components.go import QUIET, Go
from shared.ui.components.panel import footing, heading, with_stop
from shared.ui.pages import compare_clip, compare_set, compare_set_view
from shared.ui.pages.compare_inputs import ZIP, AskedTestSet, ClipSource, CompareChoices, CompareHow, clips_of, pair
from shared.ui.pages.compare_sounds import Sounds
from shared.ui.render.transcript import EMPTY
from shared.ui.server import jobs, messages
from shared.ui.server.jobs import Job

EMPTY_RESULT = EMPTY.format("Both texts appear here, word against word.")


def page(serving: Serving) -> None:
    """Render the page into the Blocks that is open. Without a fine-tuned checkpoint it says so, and stops."""
    heading("Compare", "The same speech, read by the base model and by the fine-tuned one.", serving)
    if serving.fine_tuned is None:
        gr.HTML('<p class="notice" role="alert">There is nothing to compare: the fine-tuned model could not be had, as '
                "said above.</p>", elem_id="compare-stopped")
        footing(serving)
        return
    with gr.Row(elem_classes="page"):
        with gr.Column(scale=2, min_width=300):
            with gr.Tabs():
                with gr.Tab("One clip") as clip_tab:
                    one = _OneClip(serving)
                with gr.Tab("A test set") as set_tab:
                    many = ClipSource()
            chosen = CompareChoices(serving, serving.fine_tuned)
            go = _Buttons(one, many, clip_tab, set_tab)
        with gr.Column(scale=3, min_width=300):
            shown = _Shown()
    footing(serving)
    _compare_clips(serving, one, go.clip, chosen, shown)
    _compare_test_sets(serving, many, go.set, chosen, shown)


class _OneClip:
    """A clip, and its text. Rendered where it is made."""

    def __init__(self, serving: Serving) -> None:
        self.clip = gr.Audio(sources=["upload", "microphone"], type="filepath", label="Speech", buttons=[],
                             editable=False, elem_id="compare-clip")
        self.examples = example_clips.compared_row(serving)
        self.reference = gr.Textbox(label="Its text, word for word", lines=3, elem_id="compare-reference",
                                    info="If you know it. Without it the two texts are set against each other.",
                                    max_length=compare_clip.MAX_LETTERS)


class _Buttons:
    """One button for each tab, of which one is seen: a clip, or a test set. Rendered where this is made."""

    def __init__(self, one: _OneClip, many: ClipSource, clip_tab: gr.Tab, set_tab: gr.Tab) -> None:
        self.clip = Go("Compare", "Record or choose a clip first, or try an example.", elem_id="compare-go")
        self.set = Go("Compare on all clips", "Choose a zip, or name a data set, first.", elem_id="compare-set-go",
                      visible=False)
        given, parts = [one.clip, many.source, many.archive, many.dataset], [*self.clip.parts, *self.set.parts]

        def of(is_set: bool) -> Callable[..., list[Any]]:
            def ready(clip: str | None, source: str, archive: str | None, dataset: str | None) -> list[Any]:
                has_set = bool(archive) if source == ZIP else bool((dataset or "").strip())
                return [*self.clip.ready(clip is not None, shown=not is_set), *self.set.ready(has_set, shown=is_set)]

            return ready

        for is_set, triggers in ((False, [clip_tab.select, one.clip.change]),
                                 (True, [set_tab.select, many.source.change, many.archive.change,
                                         many.dataset.change])):
            gr.on(triggers, of(is_set), given, parts, trigger_mode="always_last", **QUIET)


class _Shown:
    """Where results appear, and Stop above it. `outputs`: what a program wants, then what a person sees."""

    def __init__(self) -> None:
        self.stop = gr.Button("Stop", variant="stop", visible=False, elem_id="compare-stop")
        self.view = gr.HTML(EMPTY_RESULT, elem_id="compare-result")
        with gr.Column(visible=False, elem_classes="after") as self.after:
            self.files = gr.File(label="Downloads", file_count="multiple", interactive=False,
                                 elem_id="compare-downloads")
        self.data = gr.JSON(visible=False)
        self.outputs = [self.data, self.view, self.files, self.after]
        self.stop.click(_stop, api_name="stop_compare", queue=False, api_visibility="undocumented")

    def runs(self, trigger: Callable, work: Callable, inputs: Sequence[Any], **event: Any) -> None:
        """Wire an action. event: as for any of Gradio's."""
        with_stop(self.stop, self.view, [trigger], work, inputs, self.outputs,
                  clear={self.view: EMPTY_RESULT, self.after: gr.Column(visible=False)}, **event)


@dataclass(frozen=True)
class AskedClip:
    """clip: path of what was sent or recorded. reference: its text, may be empty."""

    clip: str | None
    reference: str | None
    how: CompareHow


@dataclass(frozen=True)
class AskedExample:
    """example: number of one of the clips that come with the app."""

    example: int
    how: CompareHow


def _compare_clips(serving: Serving, one: _OneClip, go: Go, chosen: CompareChoices, shown: _Shown) -> None:
    def read(path: str, reference: str, how: CompareHow, work: Job) -> list[Any]:
        compared = compare_clip.compare_clip(serving, Request(path, how.options, how.engine), reference,
                                             pair(serving, how, work), work)
        return [compare_clip.as_dict(compared), compare_clip.html(compared), None, gr.Column(visible=False)]

    def compare(asked: AskedClip, work: Job) -> list[Any]:
        if asked.clip is None:
            raise UserError("There is no speech yet", hint="record it, choose a file, or try an example")
        return read(asked.clip, asked.reference or "", asked.how, work)

    def compare_example(asked: AskedExample, work: Job) -> list[Any]:
        clip = example_clips.clip(asked.example)
        return read(clip.path, clip.text, asked.how, work)

    shown.runs(go.click, handler(AskedClip, compare, files=("clip",)), [one.clip, one.reference, *chosen.inputs],
               api_name="compare_clip")
    shown.runs(one.examples.click, handler(AskedExample, compare_example), [one.examples, *chosen.inputs],
               api_name="compare_example")
    clearable(clip=one.clip)
    one.clip.input(lambda: "", None, one.reference, queue=False, show_progress="hidden", api_visibility="private")


def _compare_test_sets(serving: Serving, many: ClipSource, go: Go, chosen: CompareChoices, shown: _Shown
                       ) -> None:
    def compare_test_set(asked: AskedTestSet, work: Job) -> list[Any]:
        both = pair(serving, asked.how, work)
        work.says("opening the test set")
        with clips_of(asked, serving.limits) as clips, compare_set.results_folder() as folder:
            sounds = Sounds(folder)
            evaluation, notes = compare_set.compare_set(serving, clips, both, asked.how, work, sounds)
            players = sounds.only([clip.id for clip in compare_set_view.shown(evaluation)])
            summary = compare_set.as_dict(evaluation, both, notes)
            paths = compare_set.write_files(evaluation, summary, folder)
        html = compare_set_view.html(evaluation, notes, players)
        return [summary, html, paths, gr.Column(visible=True)]

    clearable(archive=many.archive, table=many.table)
    shown.runs(go.click, handler(AskedTestSet, compare_test_set, files=("archive", "table")),
               [*many.inputs, *chosen.inputs], api_name="compare_clips")


def _stop(request: gr.Request) -> None:
    if not jobs.stop(request):
        messages.info("Nothing is running.")
