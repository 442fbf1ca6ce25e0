"""The page "Train": sentences are read aloud and recorded, a checkpoint is trained on them, and the proof is shown.

On one's own machine only. What it shows of the work comes from `Runner.status` every two seconds, so a page that is
reloaded finds everything where it was; recordings are files, and stay.
"""

from __future__ import annotations

import atexit
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.context import Context

from shared.errors import UserError
from shared.languages import LANGUAGES, language_name
from shared.serving import Serving
from shared.ui.components.language import language_field
from shared.ui.components.panel import heading
from shared.ui.server import messages, uses
from shared.ui.server.launch import Page
from shared.ui.server.results import Result
from training.studio import view
from training.studio.corpus import Recordings, lines_of
from training.studio.runner import Plan, Runner

NEEDED = ("accelerate", "evaluate", "psutil")  # what only training needs, of the extra `train`
POLL_SECONDS = 2.0
_runner = Runner()
atexit.register(_runner.stop)  # a child outlives its parent; nobody would see it train on


def offered(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this app may offer the page: it is not on a Space and listens to its own machine only.

    Args:
        environment: the process's own unless given.

    Returns:
        True where it may.
    """
    server = environment.get("GRADIO_SERVER_NAME") or "127.0.0.1"
    return not environment.get("SPACE_ID") and server in ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Studio:
    """place: where recordings/, data/ and runs/ are. base, max_steps, more: of the training, see `Plan`."""

    place: Path
    base: str = "embedded:whisper-base"
    max_steps: int = 300
    more: tuple[str, ...] = ()

    def recordings(self, language: str) -> Recordings:
        """Those of one language."""
        return Recordings(self.place / "recordings" / f"studio-{language}")

    def plan(self, language: str, name: str | None, max_steps: float | None) -> Plan:
        """Raises UserError: a name that is no name of a folder, or a number of steps out of range."""
        name = (name or "").strip() or next_name(self.place / "runs", language)
        if not re.fullmatch(r"[\w-]{1,60}", name):
            raise UserError("This is no name for a run", got=name[:60], limit="letters, digits, - and _",
                            hint="choose a simpler one")
        steps = int(max_steps or self.max_steps)
        if not 1 <= steps <= 100_000:
            raise UserError("The number of steps is out of range", got=steps, limit="1 to 100000", hint="change it")
        return Plan(name, self.recordings(language).folder, language, self.base, steps, self.more, self.place)


def next_name(runs: Path, language: str) -> str:
    """The first of it-1, it-2 … that is not done.

    >>> next_name(Path("/no/such/folder"), "it")
    'it-1'
    """
    number = 1
    while (runs / f"{language}-{number}" / "evaluation" / "scores.json").is_file():
        number += 1
    return f"{language}-{number}"


def missing() -> list[str]:
    """Packages that training needs and that are not installed."""
    return [name for name in NEEDED if find_spec(name) is None]


def page(serving: Serving) -> None:
    """Render the page into the Blocks that is open."""
    render(serving, Studio(Path.cwd()))


PAGE = Page("Train", "train", page, "Read sentences aloud, train on them, and see whether it is better.")


def render(serving: Serving, studio: Studio) -> None:
    """The same for another place and other settings."""
    heading("Train", "Read sentences aloud, train a checkpoint on them, and see whether it is better. "
            "Everything stays on this machine.", serving)
    gr.HTML(view.STYLE, padding=False)
    uses.offer(uses.Use("train", "Use for training", lambda result: take_lines(result, studio)))
    with gr.Row(elem_classes="page"):
        with gr.Column(scale=2, min_width=300):
            record = _Record(studio)
        with gr.Column(scale=3, min_width=300):
            _Train(studio, record)


def take_lines(result: Result, studio: Studio) -> uses.Done:
    """The lines of a transcript, as they are corrected, become recordings of the page. Raises UserError."""
    if result.task != "transcribe":
        raise UserError("A translation is not what is spoken, so nothing can be trained on it",
                        hint="transcribe the recording, correct the text, and use that")
    if result.player is None:
        raise UserError("The sound of this result could not be kept", hint="transcribe the recording again")
    transcript = result.answer.transcript
    n_taken, n_left = studio.recordings(transcript.language).keep_segments(result.player, transcript.segments)
    if not n_taken:
        raise UserError("No line can be used for training", got=f"{n_left} lines",
                        limit="0.3 to 30 s, with words", hint="split long lines")
    lines = "1 line is a recording" if n_taken == 1 else f"{n_taken} lines are recordings"
    left = f"; {n_left} left out (no words, shorter than 0.3 s or longer than 30 s)" if n_left else ""
    return uses.Done(f"{lines} of the page Train now, in {language_name(transcript.language)}{left}.",
                     f"./train?language={transcript.language}", "Open Train")


class _Record:
    """What to read, and the recorder. Rendered where it is made."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        gr.HTML("<h2>1. Record</h2>")
        self.language = language_field(LANGUAGES, "en", elem_id="train-language")
        with gr.Accordion("Sentences to read", open=True) as self.writing:
            self.sentences = gr.Textbox(label="One on each line", lines=4, max_lines=12, elem_id="train-sentences")
            self.file = gr.File(label="or a text file", file_types=[".txt"], type="filepath", height=150)
            self.add = gr.Button("Add these sentences", elem_id="train-add")
        self.number = gr.State(0)
        self.shown = gr.HTML(elem_id="train-sentence")
        self.recording = gr.Audio(sources=["microphone", "upload"], type="filepath", label="Your recording",
                                  buttons=[], editable=False, elem_id="train-recording")
        with gr.Row():
            self.back = gr.Button("Back", elem_id="train-back", min_width=80)
            self.skip = gr.Button("Skip", elem_id="train-skip", min_width=80)
            self.keep = gr.Button("Keep and go on", variant="primary", interactive=False, elem_id="train-keep")
        self.remove = gr.Button("Remove this sentence's recording", visible=False, elem_id="train-remove")
        self.all = gr.HTML(elem_id="train-all")
        self.start = gr.Button("Start", interactive=False, elem_id="train-start", render=False)
        self._wire()

    @property
    def _outputs(self) -> list[Any]:
        return [self.number, self.shown, self.recording, self.keep, self.remove, self.all, self.writing,
                self.start]

    def _wire(self) -> None:
        here = [self.language, self.number]
        quiet = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
        self.add.click(_told(self._add), [self.language, self.sentences, self.file],
                       [*self._outputs, self.sentences, self.file], **quiet)
        self.keep.click(_told(self._keep), [*here, self.recording], self._outputs, **quiet)
        self.skip.click(lambda language, number: self._at(language, number + 1), here, self._outputs, **quiet)
        self.back.click(lambda language, number: self._at(language, number - 1), here, self._outputs, **quiet)
        self.remove.click(self._remove, here, self._outputs, **quiet)
        self.language.input(self._first, self.language, self._outputs, **quiet)
        for event in (self.recording.stop_recording, self.recording.upload):
            event(lambda: gr.Button(interactive=True), None, self.keep, **quiet)
        self.recording.clear(lambda: gr.Button(interactive=False), None, self.keep, **quiet)
        block = Context.root_block
        assert block is not None, "rendered into a page"
        block.load(_asked_language, None, self.language, **quiet).then(
            self._first, self.language, self._outputs, **quiet)

    def _add(self, language: str, text: str, file: str | None) -> list[Any]:
        lines = (text or "").splitlines() + (lines_of(Path(file), language) if file else [])
        n_new = self._studio.recordings(language).add(lines)
        messages.info(f"{n_new} sentences were added." if n_new else "All of them are there already.")
        return [*self._first(language), "", None]

    def _keep(self, language: str, number: int, recording: str | None) -> list[Any]:
        if recording is None:
            raise UserError("There is no recording yet", hint="press Record, read the sentence, press Stop")
        recordings = self._studio.recordings(language)
        seconds = recordings.keep(number, recording)
        messages.info(f"Kept: {seconds:.1f} s.")
        left = [one.number for one in recordings.sentences() if one.seconds is None]
        return self._at(language, next((n for n in left if n > number), left[0] if left else number))

    def _remove(self, language: str, number: int) -> list[Any]:
        self._studio.recordings(language).forget(number)
        return self._at(language, number)

    def _first(self, language: str) -> list[Any]:
        """At the first sentence without a recording."""
        found = self._studio.recordings(language).sentences()
        return self._at(language, next((one.number for one in found if one.seconds is None), 1))

    def _at(self, language: str, number: int) -> list[Any]:
        found = self._studio.recordings(language).sentences()
        if not found:
            return [0, '<p class="empty">Add some sentences above; then they appear here, one by one.</p>', None,
                    gr.Button(interactive=False), gr.Button(visible=False), "", gr.Accordion(open=True),
                    gr.Button(interactive=False)]
        number = min(max(number, 1), len(found))
        one = found[number - 1]
        return [number, view.sentence(one, len(found), language), None, gr.Button(interactive=False),
                gr.Button(visible=one.seconds is not None), view.overview(found), gr.Accordion(open=False),
                gr.Button(interactive=not missing() and view.n_recorded(found) >= view.MIN_RECORDED)]


class _Train:
    """Starts and stops the work, and shows how far it is. Rendered where it is made."""

    def __init__(self, studio: Studio, record: _Record) -> None:
        self._studio = studio
        gr.HTML("<h2>2. Train and compare</h2>")
        lacking = missing()
        if lacking:
            gr.HTML('<p class="notice" role="alert">Training needs packages that are not installed: '
                    f"{escape(', '.join(lacking))}. Stop the app, run <code>pip install -e '.[train]'</code>, and "
                    "start it again. Recordings stay.</p>")
        with gr.Row():
            name = gr.Textbox(label="Name of the run", placeholder="en-1", elem_id="train-name")
            steps = gr.Number(studio.max_steps, label="Steps", precision=0, minimum=1, elem_id="train-steps",
                              info="300 are about five passes over an hour.")
        with gr.Row():
            record.start.render()
            stop = gr.Button("Stop", variant="stop", elem_id="train-stop")
        gr.HTML('<p class="small">Stop it when you like, or close the app: Start with the same name goes on.</p>')
        shown = gr.HTML(view.status_html(_runner.status(), None), elem_id="train-status", elem_classes="studio-status")
        quiet = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
        record.start.click(_told(self._start), [record.language, name, steps], shown, **quiet)
        stop.click(self._stop, None, shown, **quiet)
        gr.Timer(POLL_SECONDS).tick(_now, None, shown, **quiet)

    def _start(self, language: str, name: str, steps: float | None) -> str:
        n_recorded = view.n_recorded(self._studio.recordings(language).sentences())
        if n_recorded < view.MIN_RECORDED:
            raise UserError("There are too few recordings", got=f"{n_recorded} in {language_name(language)}",
                            limit=f"at least {view.MIN_RECORDED}", hint="record some more")
        _runner.start(self._studio.plan(language, name, steps))
        return _now()

    def _stop(self) -> str:
        if not _runner.stop():
            messages.info("Nothing is running.")
        return _now()


def _asked_language(request: gr.Request) -> Any:
    """A link may name the language: /train?language=it."""
    asked = request.query_params.get("language")
    return asked if asked in LANGUAGES else gr.skip()


def _now() -> str:
    return view.status_html(_runner.status(), _runner.plan)


def _told(work: Callable[..., Any]) -> Callable[..., Any]:
    """`work`, whose UserError becomes a message on the page."""
    def run(*given: Any) -> Any:
        with messages.shown():
            return work(*given)

    return run
