"""What the compare page asks a visitor for: how to read, with which checkpoints, and where a test set comes from.

Leaves: Gradio components, and functions that turn their values into Options, loaded checkpoints and a ClipSet.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import gradio as gr

from shared.checkpoint import Checkpoint
from shared.errors import UserError
from shared.inference import Transcriber
from shared.options import Options
from shared.serving import Serving
from shared.testset import ClipSet, hub_clips, zip_clips
from shared.ui.components import choices
from shared.ui.server.jobs import Job

MAX_ROWS = 2000  # of a Hub data set in one go
ZIP, HUB = "zip", "hub"


class How:
    """Rendered where it is made. `inputs`: language, engine, beam_size, quiet_speech, names, base, fine_tuned."""

    def __init__(self, serving: Serving) -> None:
        self.chosen = choices.Choices(translate=False)
        with gr.Accordion("Other checkpoints", open=False, visible=serving.limits.allowed != ()):
            self.base = _checkpoint("Base", serving.base, serving)
            self.fine_tuned = _checkpoint("Fine-tuned", serving.fine_tuned, serving)

    @property
    def inputs(self) -> list[gr.components.Component]:
        chosen = self.chosen
        return [chosen.language, chosen.engine, chosen.beam_size, chosen.quiet_speech, chosen.names, self.base,
                self.fine_tuned]


def options(language: str, beam_size: float, quiet_speech: float, names: str) -> Options:
    """Without word times: nothing here shows them, and finding them would count as time."""
    return replace(choices.read(language, "transcribe", beam_size, quiet_speech, names), words=False)


def pair(serving: Serving, base: str, fine_tuned: str, engine: str, work: Job) -> tuple[Transcriber, Transcriber]:
    """The two checkpoints asked for, loaded; fetched first if need be, so that no clip's time holds the loading."""
    return (_loaded(serving, base, serving.base, engine, work),
            _loaded(serving, fine_tuned, serving.fine_tuned, engine, work))


class ClipSource:
    """Where the clips and their references come from. Rendered where it is made."""


    def __init__(self) -> None:
        self.source = gr.Radio([("A zip of clips", ZIP), ("A data set on the Hub", HUB)], value=ZIP, show_label=False,
                               label="The clips", elem_id="compare-source")
        with gr.Column() as zipped:
            gr.HTML('<p class="hint">A zip of clips with a table beside them: a CSV whose columns are <b>file</b> and '
                    "<b>text</b>.</p>")
            self.archive = gr.File(label="Zip", type="filepath", height=140, elem_id="compare-zip")
            with gr.Accordion("The table is not in the zip", open=False):
                self.table = gr.File(label="CSV or TSV", type="filepath", height=140, elem_id="compare-table")
        with gr.Column(visible=False) as hub:
            self.dataset = gr.Textbox(label="Data set", placeholder="google/fleurs", elem_id="compare-dataset")
            with gr.Row():
                self.config = gr.Textbox(label="Configuration", placeholder="it_it", min_width=90)
                self.split = gr.Textbox("test", label="Split", min_width=90)
                self.n_rows = gr.Number(100, label="Rows", precision=0, minimum=1, maximum=MAX_ROWS, min_width=90)
        with gr.Accordion("Columns have other names", open=False):
            self.audio_column = gr.Textbox(label="Column of the clips", placeholder="found by its usual names")
            self.text_column = gr.Textbox(label="Column of the references", placeholder="found by its usual names")
        self.source.change(lambda source: [gr.Column(visible=source == ZIP), gr.Column(visible=source == HUB)],
                           self.source, [zipped, hub], queue=False, show_progress="hidden", api_visibility="private")

    @property
    def inputs(self) -> list[gr.components.Component]:
        return [self.source, self.archive, self.table, self.dataset, self.config, self.split, self.n_rows,
                self.audio_column, self.text_column]


@contextmanager
def clips_of(source: str, archive: str | None, table: str | None, dataset: str, config: str, split: str, n_rows: float,
             audio_column: str, text_column: str) -> Iterator[ClipSet]:
    """The clips that the values of `ClipSource.inputs` name, open inside the `with`. Raises UserError."""
    columns = _named(audio_column), _named(text_column)
    if source == ZIP:
        if archive is None:
            raise UserError("No zip was chosen yet", hint="choose a zip of clips with a CSV of their texts")
        with zip_clips(archive, table=table, audio_column=columns[0], text_column=columns[1]) as clips:
            yield clips
    elif source == HUB:
        if not 1 <= (n_rows or 0) <= MAX_ROWS:
            raise UserError("The number of rows is out of range", got=n_rows, limit=f"1 to {MAX_ROWS}",
                            hint="change it")
        yield hub_clips((dataset or "").strip(), config=_named(config), split=_named(split) or "test",
                        max_rows=int(n_rows), columns=columns, token=False)
    else:
        raise UserError("There is no such source of clips", got=source, limit=f"{ZIP}, {HUB}", hint="choose one")




def _checkpoint(label: str, configured: Transcriber, serving: Serving) -> gr.components.Component:
    """A field for another checkpoint: free on one's own machine, a choice of what the owner allows on a Space."""
    name, elem_id = configured.checkpoint.name, f"compare-{label.lower()}"
    if serving.limits.allowed is None:
        return gr.Textbox(label=f"{label}, instead of {name}", placeholder="a Hub id, or a folder", max_length=300,
                          elem_id=elem_id)
    return gr.Dropdown([(name, ""), *serving.limits.allowed], value="", label=label, filterable=False, elem_id=elem_id)


def _loaded(serving: Serving, text: str | None, configured: Transcriber, engine: str, work: Job) -> Transcriber:
    named = _named(text)
    if named is not None and serving.limits.allowed is not None and named not in serving.limits.allowed:
        # Before the name is looked at: whether a folder of that name exists here is nobody's business.
        raise UserError("This checkpoint may not be loaded here", got=named[:80],
                        limit=", ".join(serving.limits.allowed) or "only the two configured ones",
                        hint="choose one of those, or run the suite on your own machine")
    work.says(f"loading {named or configured.checkpoint.name}")
    return serving.transcriber(Checkpoint.parse(named) if named else configured.checkpoint, engine)


def _named(text: str | None) -> str | None:
    return (text or "").strip() or None
