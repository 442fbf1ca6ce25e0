"""The upload page: one or many audio or video files, each read in turn, and one zip of all that came out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from shared.api import LANE_OF_SHORT
from shared.errors import Cancelled, UserError
from shared.serving import Serving
from shared.ui.components import example_clips
from shared.ui.components.choices import Choices, How
from shared.ui.components.example_clips import AskedExample
from shared.ui.components.form import handler
from shared.ui.components.go import Go
from shared.ui.components.panel import Panel, footing, heading
from shared.ui.server import messages, reading, results
from shared.ui.server.jobs import Job
from shared.ui.server.kept import KEPT_SECONDS
from shared.ui.server.results import Result
from shared.units import spoken_time


@dataclass(frozen=True)
class AskedFiles:
    """files: paths of what was sent."""

    files: list[str] | None
    how: How


@dataclass(frozen=True)
class Outcome:
    """What became of one file: a result, or the reason why there is none."""

    name: str
    result: Result | None = None
    problem: str | None = None


def page(serving: Serving) -> None:
    """Render the page into the Blocks that is open."""
    heading("Files", "Drop audio or video files of any kind and length; take the texts and subtitles home.", serving)
    with gr.Row(elem_classes="page"):
        with gr.Column(scale=2, min_width=300):
            files = gr.File(label="Audio or video files", file_count="multiple", type="filepath", height=170,
                            elem_id="upload-files")
            examples = example_clips.row()
            chosen = Choices(serving.known_languages, limits=serving.limits)
            go = Go("Transcribe", "Choose a file first, or try an example.", elem_id="upload-go")
            go.needs(files)
        with gr.Column(scale=3, min_width=300):
            overview = gr.HTML(visible=False, elem_id="upload-overview")
            with gr.Row(visible=False) as many:
                which = gr.Dropdown(label="Show", filterable=False, interactive=True, elem_id="upload-which")
                archive = gr.DownloadButton("Download all as one zip", elem_id="upload-zip")
            panel = Panel("upload", serving=serving)
            report = gr.JSON(visible=False)
            outcomes = gr.State([], time_to_live=KEPT_SECONDS)
    footing(serving)

    def read(path: str, name: str, how: How, work: Job) -> Result:
        return reading.read(serving, how.request(path), work, name)

    def read_all(paths: list[str], how: How, work: Job) -> list[Outcome]:
        done = []
        for number, path in enumerate(paths, 1):
            name = Path(path).name
            work.part(f"{name} ({number} of {len(paths)})" if len(paths) > 1 else "")
            try:
                if work.cancel.is_set():
                    raise Cancelled
                done.append(Outcome(name, read(path, name, how, work)))
            except UserError as error:
                done.append(Outcome(name, problem=messages.without_paths(str(error))))
            except Cancelled:  # what was read before is kept
                return done + [Outcome(Path(left).name, problem="Stopped before it was read.")
                               for left in paths[number - 1 :]]
        return done

    def transcribe(asked: AskedFiles, work: Job) -> list[Any]:
        if not asked.files:
            raise UserError("No file was chosen yet", hint="drop one or more audio or video files")
        return _values(panel, read_all(asked.files, asked.how, work), work)

    def transcribe_example(asked: AskedExample, work: Job) -> list[Any]:
        clip = example_clips.clip(asked.example)
        return _values(panel, [Outcome(clip.file, read(clip.path, clip.file, asked.how, work))], work)

    panel.keeps(files=files)
    own = [overview, many, which, archive, report, outcomes]
    hidden = {overview: gr.HTML(visible=False), many: gr.Row(visible=False)}
    panel.runs([go.click], handler(AskedFiles, transcribe, files=("files",), page=panel.page), [files, *chosen.inputs],
               outputs=own, clear=hidden, api_name="transcribe_files")
    panel.runs([examples.click], handler(AskedExample, transcribe_example, lane=LANE_OF_SHORT, page=panel.page),
               [examples, *chosen.inputs], outputs=own, clear=hidden, api_name="transcribe_file_example")
    panel.reopens(own, hidden)
    which.input(partial(_chosen, panel), [which, outcomes], panel.outputs, queue=False, api_visibility="private")


def _values(panel: Panel, outcomes: list[Outcome], work: Job) -> list[Any]:
    """Values for the panel and for `own`. One file alone that could not be read is an error like any other."""
    read = [outcome.result for outcome in outcomes if outcome.result]
    if not read and len(outcomes) == 1:
        raise Cancelled if work.cancel.is_set() else messages.error(outcomes[0].problem or "")
    if not read:
        raise messages.error("None of the files could be read. "
                             + " — ".join(f"{outcome.name}: {outcome.problem}" for outcome in outcomes), seconds=30)
    several = len(outcomes) > 1
    shown = next(number for number, outcome in enumerate(outcomes) if outcome.result)
    names = [(outcome.name, number) for number, outcome in enumerate(outcomes) if outcome.result]
    archive = str(results.zip_of(read))
    return [*panel.show(read[0]), gr.HTML(_overview(outcomes), visible=several), gr.Row(visible=several),
            gr.Dropdown(choices=names, value=shown), archive, [_report(outcome) for outcome in outcomes], outcomes]


def _chosen(panel: Panel, number: int, outcomes: list[Outcome]) -> list[Any]:
    with messages.shown():
        result = outcomes[number].result
        if result is None:
            raise UserError("This file could not be read", hint="choose another")
        return panel.show(results.now(result))


def _overview(outcomes: list[Outcome]) -> str:
    rows = "".join(f'<li class="{"done" if outcome.result else "failed"}"><b>{escape(outcome.name)}</b>'
                   f"<span>{escape(_in_short(outcome))}</span></li>" for outcome in outcomes)
    return f'<ul class="overview">{rows}</ul>'


def _in_short(outcome: Outcome) -> str:
    if outcome.result is None:
        return f"✗ {outcome.problem}"
    transcript = outcome.result.answer.transcript
    return f"✓ {spoken_time(transcript.duration)}, {len(transcript.text.split())} words"


def _report(outcome: Outcome) -> dict:
    text = outcome.result.answer.transcript.text if outcome.result else None
    return {"file": outcome.name, "text": text, "error": outcome.problem}
