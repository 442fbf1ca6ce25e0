"""The result panel, the same on every page: how the work goes, the text to read and change, downloads, recent results.

A page makes one `Panel` where it shall appear, wires its main action with `Panel.runs` and `Panel.reopens`, and returns
`Panel.show(result)` from it. The outputs begin with what a program wants (text, transcript, files), so a page's
action is its API as well.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

import gradio as gr
from gradio.context import Context

from shared.errors import UserError
from shared.serving import Serving
from shared.transcript import Segment, Transcript
from shared.ui import STATIC
from shared.ui.render.transcript import EMPTY, result_html
from shared.ui.server import jobs, messages, owners, results, watching
from shared.ui.server.messages import without_paths
from shared.ui.server.owners import owner_of
from shared.ui.server.results import KEPT_SECONDS, Result

KEPT = ("What you send is deleted when you clear it or close the page, and after an hour at the latest. "
        "The text, its files and a copy of the sound for the player stay for an hour at most, at an address only your "
        "browser knows. Nothing is used for anything else.")
RECENT = ('<details class="recent" hidden><summary>Recent results (<span data-count>0</span>)</summary><ul></ul>'
          "</details>")
WORK = (STATIC / "work.html").read_text(encoding="utf-8")


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
        self._empty = EMPTY.format(escape(empty))
        kept = owners.remember()
        self.work = gr.HTML("", html_template=WORK, elem_id=f"{page}-work", page=page,
                            js_on_load=(STATIC / "work.js").read_text(encoding="utf-8"),
                            server_functions=[watching.watch, watching.stop, watching.change, watching.recent,
                                              watching.forget])
        self.view = gr.HTML(self._empty, elem_id=f"{page}-result")
        gr.HTML(RECENT, elem_id=f"{page}-recent")
        # For programs: the page itself has links, and lines that can be changed.
        self.files = gr.File(file_count="multiple", visible=False)
        self.text = gr.Textbox(visible=False)
        self.save, self.stop = gr.Button(visible=False), gr.Button(visible=False)
        self.data = gr.JSON(visible=False)
        self.state = gr.State(None, time_to_live=KEPT_SECONDS)
        self.stop.click(_stop, api_name=f"stop_{page}", queue=False, api_visibility="undocumented")
        self.save.click(self._save, [self.state, self.text], self.outputs, api_name=f"correct_{page}",
                        api_visibility="undocumented")
        assert Context.root_block is not None, "rendered into a page"
        Context.root_block.load(_told, kept, [kept, self.work], queue=False, show_progress="hidden",
                                api_visibility="private")

    @property
    def outputs(self) -> list[gr.components.Component | gr.blocks.BlockContext]:
        """Text, transcript as JSON, files, HTML, and one for the page itself."""
        return [self.text, self.data, self.files, self.view, self.state]

    def show(self, result: Result) -> list[Any]:
        """The values of `outputs` for a result (`results.make`)."""
        transcript = result.answer.transcript
        return ["\n".join(segment.text for segment in transcript.segments), transcript.to_dict(),
                [str(path) for path in result.files], result_html(result, self._known, self.page), result]

    def runs(self, triggers: Sequence[Callable], work: Callable, inputs: Sequence[gr.components.Component], *,
             outputs: Sequence[Any] = (), clear: Mapping[Any, Any] | None = None, **event: Any
             ) -> gr.events.Dependency:
        """Wire a page's action: any trigger starts `work`; how it goes and Stop are in sight meanwhile.

        Args:
            triggers: events of components, such as `button.click`.
            work: of `form.handler` with this page's name; gives `show(…)` and a value for each output.
            inputs: the controls whose values `work` gets.
            outputs: components besides the panel's own.
            clear: values for components besides the panel's own that hold the former result.
            event: api_name and so on, as for any of Gradio's events.

        Returns:
            The event.
        """
        cleared = {self.view: self._empty, **(clear or {})}
        begun = gr.on(triggers, lambda: cleared, None, [*cleared], queue=False, show_progress="hidden",
                      api_visibility="private", js=f"() => {{ whisperPanels[{self.page!r}].begin(); return []; }}")
        event = {"api_visibility": "undocumented", **event}
        done = begun.then(work, list(inputs), [*self.outputs, *outputs], show_progress="hidden",
                          **event)
        done.failure(None, js=f"() => {{ whisperPanels[{self.page!r}].failed(); }}", api_visibility="private")
        return done

    def reopens(self, outputs: Sequence[Any] = (), clear: Mapping[Any, Any] | None = None) -> None:
        """Wire what brings results back: of a job that was found again, and from the list of results.

        outputs: as of `runs`; they get the job's values. clear: their values for a single result of the list.
        """
        shown = [*self.outputs, *outputs]

        def reopen(asked: str, request: gr.Request) -> dict[Any, Any]:
            with messages.shown():
                owner = owner_of(request.session_hash) or ""
                kind, _, name = asked.partition(":")
                running = jobs.latest(owner, self.page) if kind == "job" else None
                if running is None:
                    return {**dict(zip(self.outputs, self.show(results.get(name, owner)), strict=True)),
                            **(clear or {})}
                values = running.outcome()
                first = results.get(running.result_ids[0], owner)
                return dict(zip(shown, [*self.show(first), *values[len(self.outputs) :]], strict=False))

        self.work.submit(reopen, self.work, [*dict.fromkeys([*shown, *(clear or {})])], queue=False,
                         show_progress="hidden", api_visibility="private")
        self.work.clear(lambda: [self._empty, *(clear or {}).values()], None, [self.view, *(clear or {})], queue=False,
                        show_progress="hidden", api_visibility="private")

    def _save(self, result: Result | None, text: str) -> list[Any]:
        with messages.shown():
            if result is None:
                raise UserError("There is no text to correct any more",
                                hint="transcribe again; results stay an hour at most")
            result = results.now(result)
            return self.show(results.change(result, corrected(result.answer.transcript, text)))


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


def _told(kept: str, request: gr.Request) -> tuple[str, str]:
    secret = owners.known(kept, request.session_hash)
    return secret, secret


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
