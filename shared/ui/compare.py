"""The page for comparing: base and fine-tuned on the same speech, one clip or a whole test set.

Nothing is routed by language here: both sides do exactly what is asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import gradio as gr

from shared.checkpoint import Checkpoint
from shared.clips import ClipSet, zip_clips
from shared.clips_hub import hub_clips
from shared.errors import UserError
from shared.inference import Options, Transcriber
from shared.serving import Serving
from shared.ui import choices, compare_clip, compare_set, example_clips, jobs
from shared.ui.jobs import job
from shared.ui.panel import MODEL_QUEUE, footing, heading
from shared.ui.results import received
from shared.ui.transcript_html import EMPTY

MAX_ROWS = 2000  # of a Hub data set in one go
ZIP, HUB = "zip", "hub"


def page(serving: Serving) -> None:
    """Render the page into the Blocks that is open. Without a fine-tuned checkpoint it says so, and stops."""
    heading("Compare", "The same speech, read by the base model and by the fine-tuned one.", serving)
    if serving.fine_tuned is None:
        gr.HTML('<p class="notice" role="alert">There is nothing to compare: the fine-tuned model could not be had, as said '
                "above.</p>", elem_id="compare-stopped")
        footing(serving)
        return
    with gr.Row(elem_classes="page"):
        with gr.Column(scale=2, min_width=300):
            with gr.Tabs():
                with gr.Tab("One clip", id="clip"):
                    clip = gr.Audio(sources=["upload", "microphone"], type="filepath", label="Speech", buttons=[],
                                    editable=False, elem_id="compare-clip")
                    reference = gr.Textbox(label="What is said, word for word", lines=3, elem_id="compare-reference",
                                           info="If you know it. Without it the two texts are set against each other.",
                                           max_length=compare_clip.MAX_LETTERS)
                    go = gr.Button("Compare", variant="primary", elem_id="compare-go")
                    examples = example_clips.row()
                with gr.Tab("A test set", id="set"):
                    asked = _TestSet()
                    go_set = gr.Button("Compare on all clips", variant="primary", elem_id="compare-set-go")
            chosen = choices.Choices(translate=False)
            with gr.Accordion("Other checkpoints", open=False):
                base = _checkpoint("Base", serving.base, serving)
                fine_tuned = _checkpoint("Fine-tuned", serving.fine_tuned, serving)
        with gr.Column(scale=3, min_width=300):
            stop = gr.Button("Stop", variant="stop", visible=False, elem_id="compare-stop")
            view = gr.HTML(EMPTY.format("Both texts appear here, word against word."), elem_id="compare-result",
                           elem_classes="result")
            with gr.Column(visible=False, elem_classes="after") as after:
                files = gr.File(label="Downloads", file_count="multiple", interactive=False, elem_id="compare-downloads")
            data = gr.JSON(visible=False)
    footing(serving)
    how = [chosen.language, chosen.engine, chosen.beam_size, chosen.quiet_speech, chosen.names, base, fine_tuned]

    def read(path, reference, language, engine, beam_size, quiet_speech, names, base, fine_tuned, work):
        options = _options(language, beam_size, quiet_speech, names)
        pair = _pair(serving, base, fine_tuned, engine, work)
        compared = compare_clip.compare_clip(serving, path, pair, options, engine, reference or "", work)
        return [compare_clip.as_dict(compared), compare_clip.html(compared), None, gr.Column(visible=False)]

    def compare(clip, reference, language, engine, beam_size, quiet_speech, names, base, fine_tuned,
                request: gr.Request, bar=gr.Progress()):  # noqa: B008
        with job(request, bar) as work, received(clip):
            if clip is None:
                raise UserError("There is no speech yet", todo="record it, choose a file, or try an example")
            return [*read(clip, reference, language, engine, beam_size, quiet_speech, names, base, fine_tuned, work), None]

    def compare_example(example, language, engine, beam_size, quiet_speech, names, base, fine_tuned, request: gr.Request,
                        bar=gr.Progress()):  # noqa: B008
        with job(request, bar) as work:
            known = example_clips.clip(example)
            return read(known.path, known.text, language, engine, beam_size, quiet_speech, names, base, fine_tuned, work)

    def compare_test_set(source, archive, table, dataset, config, split, n_rows, audio_column, text_column, language, engine,
                         beam_size, quiet_speech, names, base, fine_tuned, request: gr.Request,
                         bar=gr.Progress()):  # noqa: B008
        with job(request, bar) as work, received(archive, table):
            options = _options(language, beam_size, quiet_speech, names)
            pair = _pair(serving, base, fine_tuned, engine, work)
            columns = {"audio_column": _named(audio_column), "text_column": _named(text_column)}
            work.says("opening the test set")
            with _clips(source, archive, table, dataset, config, split, n_rows, columns) as clips:
                evaluation, notes = compare_set.compare_set(serving, clips, pair, options, engine, work)
            summary = compare_set.as_dict(evaluation, pair, notes)
            paths = compare_set.write_files(evaluation, summary)
            return [summary, compare_set.html(evaluation, notes), paths, gr.Column(visible=True), None, None]

    def runs(triggers, work, inputs, outputs, api_name, description):
        shown = gr.on(triggers, lambda: gr.Button(visible=True), None, stop, queue=False, show_progress="hidden",
                      api_visibility="private")
        done = shown.then(work, inputs, outputs, concurrency_id=MODEL_QUEUE, concurrency_limit=1, show_progress_on=view,
                          api_name=api_name, api_description=description)
        done.then(lambda: gr.Button(visible=False), None, stop, queue=False, show_progress="hidden",
                  api_visibility="private")

    shown = [data, view, files, after]
    runs([go.click], compare, [clip, reference, *how], [*shown, clip], "compare",
         "Both checkpoints on one clip; with a reference, both aligned to it and counted.")
    runs([examples.click], compare_example, [examples, *how], shown, "compare_example",
         "Both checkpoints on one of the clips that come with the app, with its known text.")
    runs([go_set.click], compare_test_set, [*asked.inputs, *how], [*shown, asked.archive, asked.table], "compare_test_set",
         "Both checkpoints on every clip of a zip or of a Hub data set: pooled rates, intervals, and whether the difference "
         "is real. Files: rows as CSV and JSON lines, and the summary.")
    stop.click(_stop, api_name="stop_compare", queue=False,
               api_description="End the work of this session.")
    clip.input(lambda: "", None, reference, queue=False, show_progress="hidden", api_visibility="private")


class _TestSet:
    """Where the clips and their references come from. Rendered where it is made."""

    def __init__(self) -> None:
        self.source = gr.Radio([("A zip of clips", ZIP), ("A data set on the Hub", HUB)], value=ZIP, show_label=False,
                               label="The clips", elem_id="compare-source")
        with gr.Column() as zipped:
            gr.HTML("<p>A zip of clips with a table beside them: a CSV whose columns are <b>file</b> and <b>text</b>.</p>",
                    elem_classes="hint")
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
        self.source.change(lambda source: [gr.Column(visible=source == ZIP), gr.Column(visible=source == HUB)], self.source,
                           [zipped, hub], queue=False, show_progress="hidden", api_visibility="private")

    @property
    def inputs(self) -> list[gr.components.Component]:
        return [self.source, self.archive, self.table, self.dataset, self.config, self.split, self.n_rows,
                self.audio_column, self.text_column]


@contextmanager
def _clips(source: str, archive: str | None, table: str | None, dataset: str, config: str, split: str, n_rows: float,
           columns: dict[str, str | None]) -> Iterator[ClipSet]:
    if source == ZIP:
        if archive is None:
            raise UserError("No zip was chosen yet", todo="choose a zip of clips with a CSV of their texts")
        with zip_clips(archive, table=table, **columns) as clips:
            yield clips
    elif source == HUB:
        if not 1 <= (n_rows or 0) <= MAX_ROWS:
            raise UserError("The number of rows is out of range", got=n_rows, limit=f"1 to {MAX_ROWS}", todo="change it")
        yield hub_clips((dataset or "").strip(), config=_named(config), split=_named(split) or "test", max_rows=int(n_rows),
                        **columns)
    else:
        raise UserError("There is no such source of clips", got=source, limit=f"{ZIP}, {HUB}", todo="choose one")


def _options(language: str, beam_size: float, quiet_speech: float, names: str) -> Options:
    """Word times are not shown here, and finding them would count as time."""
    return replace(choices.read(language, "transcribe", beam_size, quiet_speech, names), words=False)


def _checkpoint(label: str, configured: Transcriber, serving: Serving) -> gr.components.Component:
    """A field for another checkpoint: free on one's own machine, a choice of what the owner allows on a Space."""
    name = configured.checkpoint.name
    if serving.allowed is None:
        return gr.Textbox(label=f"{label}, instead of {name}", placeholder="a Hub id, or a folder", max_length=300,
                          elem_id=f"compare-{label.lower()}")
    return gr.Dropdown([(name, ""), *serving.allowed], value="", label=label, visible=bool(serving.allowed),
                       elem_id=f"compare-{label.lower()}")


def _pair(serving: Serving, base: str, fine_tuned: str, engine: str, work: jobs.Job) -> tuple[Transcriber, Transcriber]:
    """The two checkpoints asked for, loaded; fetched first if need be, so that no clip's time holds the loading."""
    return (_loaded(serving, base, serving.base, engine, work),
            _loaded(serving, fine_tuned, serving.fine_tuned, engine, work))


def _loaded(serving: Serving, text: str | None, configured: Transcriber, engine: str, work: jobs.Job) -> Transcriber:
    named = _named(text)
    if named is not None and serving.allowed is not None and named not in serving.allowed:
        # Before the name is looked at: whether a folder of that name exists here is nobody's business.
        raise UserError("This checkpoint may not be loaded here", got=named[:80],
                        limit=", ".join(serving.allowed) or "only the two configured ones",
                        todo="choose one of those, or run the suite on your own machine")
    work.says(f"loading {named or configured.checkpoint.name}")
    return serving.transcriber(Checkpoint.parse(named) if named else configured.checkpoint, engine)


def _named(text: str | None) -> str | None:
    return (text or "").strip() or None


def _stop(request: gr.Request) -> None:
    if not jobs.stop(request):
        gr.Info("Nothing is running.", duration=3)
