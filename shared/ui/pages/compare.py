"""The page for comparing: base and fine-tuned on the same speech, one clip or a whole test set.

Nothing is routed by language here: both sides do exactly what is asked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from shared.api import LANE_OF_SHORT
from shared.errors import UserError
from shared.serving import Request, Serving
from shared.ui.components import example_clips
from shared.ui.components.fill import fill_untouched
from shared.ui.components.form import handler
from shared.ui.components.go import QUIET, Go
from shared.ui.components.panel import footing, heading
from shared.ui.pages import compare_clip, compare_set, compare_set_view
from shared.ui.pages.compare_inputs import (
    ZIP,
    AskedTestSet,
    ClipSource,
    CompareChoices,
    CompareHow,
    clips_of,
    pair,
)
from shared.ui.pages.compare_result import ComparePanel, Comparison
from shared.ui.pages.compare_sounds import Sounds
from shared.ui.server import received
from shared.ui.server.jobs import Job
from shared.ui.server.kept import new_folder, safe_name


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
            panel = ComparePanel()
    footing(serving)
    _compare_clips(serving, one, go.clip, chosen, panel)
    _compare_test_sets(serving, many, go.set, chosen, panel)
    panel.reopens()


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


def _compare_clips(serving: Serving, one: _OneClip, go: Go, chosen: CompareChoices, panel: ComparePanel) -> None:
    def read(path: str, reference: str, how: CompareHow, work: Job) -> list[Any]:
        with new_folder() as folder:
            found = compare_clip.compare_clip(serving, Request(path, how.options, how.engine), reference,
                                              pair(serving, how, work), work)
            made = Comparison(
                name=safe_name(Path(path).name), folder=folder, owner=work.asker.owner, files=(),
                data=compare_clip.as_dict(found), html=compare_clip.html(found),
                verdict=compare_clip.verdict_text(found), seconds=found.sides[0].answer.transcript.duration)
            return panel.finished(work, made)

    def compare(asked: AskedClip, work: Job) -> list[Any]:
        if asked.clip is None:
            raise UserError("There is no speech yet", hint="record it, choose a file, or try an example")
        return read(asked.clip, asked.reference or "", asked.how, work)

    def compare_example(asked: AskedExample, work: Job) -> list[Any]:
        clip = example_clips.clip(asked.example)
        return read(clip.path, clip.text, asked.how, work)

    clear = {panel.after: gr.Column(visible=False)}
    panel.runs([go.click], handler(AskedClip, compare, files=("clip",), page=panel.page),
               [one.clip, one.reference, *chosen.inputs], clear=clear, api_name="compare_clip")
    panel.runs([one.examples.click], handler(AskedExample, compare_example, lane=LANE_OF_SHORT, page=panel.page),
               [one.examples, *chosen.inputs], clear=clear, api_name="compare_example")
    # Here and not where a clip arrives: meanwhile its own text may have been typed.
    one.clip.clear(None, None, one.reference, js="() => ''", api_visibility="private")
    _keep_reference(one, panel.keeps(clip=one.clip))


def _keep_reference(one: _OneClip, given_back: gr.events.Dependency) -> None:
    """The browser keeps the text that belongs to the clip; it comes back with the clip."""
    kept_text = gr.BrowserState("", storage_key="whisper-spaces-reference", secret="not a secret")

    def back(text: Any, request: gr.Request) -> list[str]:
        is_clip_there = received.holds(request.session_hash, "clip")
        return [text if is_clip_there and isinstance(text, str) else ""]

    one.reference.change(lambda text: text, one.reference, kept_text, trigger_mode="always_last", **QUIET)
    found = gr.JSON(visible=False)
    fill_untouched(given_back.then(back, kept_text, found, **QUIET), found, {one.reference: ""})


def _compare_test_sets(serving: Serving, many: ClipSource, go: Go, chosen: CompareChoices, panel: ComparePanel) -> None:
    def compare_test_set(asked: AskedTestSet, work: Job) -> list[Any]:
        both = pair(serving, asked.how, work)
        work.says("opening the test set")
        with clips_of(asked, serving.limits, work.cancel) as clips, new_folder() as folder:
            sounds = Sounds(folder)
            evaluation, notes = compare_set.compare_set(serving, clips, both, asked.how, work, sounds)
            players = sounds.only([clip.id for clip in compare_set_view.shown(evaluation)])
            summary = compare_set.as_dict(evaluation, both, notes)
            files = compare_set.write_files(evaluation, summary, folder)
            name = asked.archive if asked.source == ZIP else (asked.dataset or "").rpartition("://")[2]
            made = Comparison(
                name=safe_name(Path(name or "").name), folder=folder, owner=work.asker.owner, files=files, data=summary,
                html=compare_set_view.html(evaluation, notes, players), verdict=summary["verdict_text"],
                seconds=evaluation.audio_seconds)
            return panel.finished(work, made)

    panel.keeps(archive=many.archive, table=many.table)
    panel.runs([go.click], handler(AskedTestSet, compare_test_set, files=("archive", "table"), page=panel.page),
               [*many.inputs, *chosen.inputs], clear={panel.after: gr.Column(visible=False)}, api_name="compare_clips")
