"""What the compare page asks a visitor for: how to read, with which checkpoints, and where a test set comes from.

Leaves: Gradio components, typed requests of their values, and what these name: loaded checkpoints and a ClipSet.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import gradio as gr
from gradio.context import Context

from shared import link as links
from shared.errors import UserError
from shared.inference import Transcriber
from shared.languages import LANGUAGES
from shared.options import Options
from shared.serving import Limits, Serving
from shared.system.temporary import temporary_folder
from shared.testset import ClipSet, hub_clips, zip_clips
from shared.ui.components.choices import Choices, How
from shared.ui.server import sign_in
from shared.ui.server.jobs import Job

MAX_ROWS = 2000  # of a Hub data set in one go
MAX_BYTES = 4_000_000_000  # of a zip behind a link, where the app has no limit of its own
HUB_PAGE = re.compile(r"^https?://(?:www\.)?(?:huggingface\.co|hf\.co)/datasets/([\w.-]+/[\w.-]+?)(?:/(?:viewer|tree/main))?/?$")
ZIP, HUB = "zip", "hub"


@dataclass(frozen=True)
class CompareHow:
    """How both checkpoints are to transcribe, and which two. base, fine_tuned: empty for the configured ones."""

    VALUES: ClassVar[tuple[str, ...]] = (
        "language", "engine", "beam_size", "vad_onset", "initial_prompt", "hotwords", "base",
        "fine_tuned")

    options: Options
    engine: str
    base: str | None
    fine_tuned: str | None

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> CompareHow:
        """Without word times: nothing here shows them, and finding them would count as time. Raises UserError."""
        how = How.read(values)
        return cls(replace(how.options, words=False), how.engine, _named(values["base"]), _named(values["fine_tuned"]))


class CompareChoices:
    """The controls, rendered where this is made."""

    def __init__(self, serving: Serving, fine_tuned: Transcriber) -> None:
        languages = dict.fromkeys((*serving.known_languages, *LANGUAGES))  # other checkpoints may know more
        self._chosen = Choices(languages, translate=False)
        may_choose = serving.limits.allowed != () or serving.limits.signed_in
        with gr.Accordion("Other checkpoints", open=False, visible=may_choose) as others:
            sign_in.button()
            self._base = _checkpoint("Base", serving.base, serving.limits)
            self._fine_tuned = _checkpoint("Fine-tuned", fine_tuned, serving.limits)
        if serving.limits.allowed is None:
            block = Context.root_block
            assert block is not None, "rendered into a page"
            block.load(_from_address, None, [self._fine_tuned, others], queue=False, show_progress="hidden",
                       api_visibility="private")

    @property
    def inputs(self) -> list[gr.components.Component]:
        return [*self._chosen.named(CompareHow.VALUES[:-2]), self._base, self._fine_tuned]


def pair(serving: Serving, how: CompareHow, work: Job) -> tuple[Transcriber, Transcriber]:
    """The two checkpoints asked for, loaded; fetched first if need be, so that no clip's time holds the loading."""
    assert serving.fine_tuned is not None, "the page stops without one"
    return (_loaded(serving, how.base, serving.base, how.engine, work),
            _loaded(serving, how.fine_tuned, serving.fine_tuned, how.engine, work))


@dataclass(frozen=True)
class AskedTestSet:
    """source: ZIP or HUB. archive, table: paths of uploads. dataset, config, split: as the Hub names them."""

    source: str
    archive: str | None
    table: str | None
    dataset: str | None
    config: str | None
    split: str | None
    n_rows: float | None
    audio_column: str | None
    text_column: str | None
    how: CompareHow


class ClipSource:
    """Where the clips and their references come from. Rendered where this is made."""

    def __init__(self) -> None:
        self.source = gr.Radio([("A zip of clips", ZIP), ("A data set on the Hub, or a link", HUB)], value=ZIP,
                               show_label=False, label="The clips", elem_id="compare-source")
        with gr.Column() as zipped:
            gr.HTML('<p class="hint">A zip of clips with a table beside them: a CSV whose columns are <b>file</b> and '
                    "<b>text</b>.</p>")
            self.archive = gr.File(label="Zip", type="filepath", height=140, elem_id="compare-zip")
            with gr.Accordion("The table is not in the zip", open=False):
                self.table = gr.File(label="CSV or TSV", type="filepath", height=140, elem_id="compare-table")
        with gr.Column(visible=False) as hub:
            self.dataset = gr.Textbox(label="Data set, or the address of a zip", placeholder="google/fleurs",
                                      max_length=2000, elem_id="compare-dataset")
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
def clips_of(asked: AskedTestSet, limits: Limits, cancel: threading.Event | None = None) -> Iterator[ClipSet]:
    """The clips asked for, open inside the `with`. cancel: ends a download. Raises UserError, Cancelled."""
    columns = _named(asked.audio_column), _named(asked.text_column)
    if asked.source == ZIP:
        if asked.archive is None:
            raise UserError("No zip was chosen yet", hint="choose a zip of clips with a CSV of their texts")
        with zip_clips(asked.archive, table=asked.table, audio_column=columns[0], text_column=columns[1]) as clips:
            yield clips
    elif asked.source == HUB:
        n_rows, name = int(asked.n_rows or 0), HUB_PAGE.sub(r"\1", (asked.dataset or "").strip())
        if re.match(r"https?://", name, re.IGNORECASE):  # a zip behind a link, as the tools take it
            with temporary_folder("testset-") as folder:
                path = links.download_archive(name, folder, max_bytes=limits.max_bytes or MAX_BYTES, cancel=cancel)
                with zip_clips(path, audio_column=columns[0], text_column=columns[1]) as clips:
                    yield replace(clips, origin=name)
            return
        if not 1 <= n_rows <= MAX_ROWS:
            raise UserError("The number of rows is out of range", got=n_rows, limit=f"1 to {MAX_ROWS}",
                            hint="change it")
        yield hub_clips(name, config=_named(asked.config), split=_named(asked.split) or "test", max_rows=n_rows,
                        columns=columns, token=None if name in limits.datasets else False)
    else:
        raise UserError("There is no such source of clips", got=asked.source, limit=f"{ZIP}, {HUB}", hint="choose one")


def _checkpoint(label: str, configured: Transcriber, limits: Limits) -> gr.components.Component:
    """A field for another checkpoint: free on one's own machine, a choice of what the owner allows on a Space."""
    name, elem_id = configured.checkpoint.name, f"compare-{label.lower()}"
    if limits.allowed is None:
        return gr.Textbox(label=f"{label}, instead of {name}", placeholder="a Hub id, or a folder", max_length=300,
                          elem_id=elem_id)
    return gr.Dropdown([(name, ""), *limits.allowed], value="", label=label, filterable=limits.signed_in,
                       allow_custom_value=limits.signed_in, elem_id=elem_id,
                       info="Or the Hub id of one that your account may read." if limits.signed_in else None)


def _loaded(serving: Serving, named: str | None, configured: Transcriber, engine: str, work: Job) -> Transcriber:
    account = work.asker.account
    checkpoint = serving.named(named, account) if named else configured.checkpoint
    work.says(f"loading {named or configured.checkpoint.name}")
    return serving.transcriber(checkpoint, engine, account)


def _from_address(request: gr.Request) -> list[Any]:
    """A link may name the fine-tuned checkpoint: /compare?fine_tuned=runs/mine/model. Nothing is loaded yet."""
    named = _named(request.query_params.get("fine_tuned"))
    return [named[:300], gr.Accordion(open=True)] if named else [gr.skip(), gr.skip()]


def _named(text: str | None) -> str | None:
    return (text or "").strip() or None
