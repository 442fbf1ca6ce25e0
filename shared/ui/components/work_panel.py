"""Where a page shows its visitor's work: how it goes, what came of it, recent results; and what they sent, given back.

A page makes one kind of `WorkPanel` where it shall appear, wires its actions with `runs` and `reopens`, names its
upload fields to `keeps`, and returns `show(result)` from its work. A page that is opened again finds the visitor's work
by the secret that their browser keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any, TypeAlias

import gradio as gr
from gradio.context import Context

from shared.ui import STATIC
from shared.ui.render.transcript import EMPTY
from shared.ui.server import jobs, kept, messages, owners, received, watching
from shared.ui.server.kept import Kept

RECENT = ('<details class="recent" hidden><summary>Recent results (<span data-count>0</span>)</summary><ul></ul>'
          "</details>")
WORK = (STATIC / "work.html").read_text(encoding="utf-8")
QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
Output: TypeAlias = gr.components.Component | gr.blocks.BlockContext


class WorkPanel:
    """Rendered where it is made. view: shows a result. outputs: what `show` has values for; a kind adds its own.

    opened: the event of a page that was opened, once it is known whose it is.
    """

    def __init__(self, page: str, empty: str, kind: type[Kept]) -> None:
        """page: a short name, unique in the app, for element and endpoint names. kind: of results."""
        self.page, self._kind = page, kind
        self.empty = EMPTY.format(escape(empty))
        mine = owners.remember()
        self.work = gr.HTML("", html_template=WORK, elem_id=f"{page}-work", page=page, kind=kind.KIND,
                            js_on_load=(STATIC / "work.js").read_text(encoding="utf-8"),
                            server_functions=[watching.watch, watching.stop, watching.change, watching.use,
                                              watching.recent, watching.forget])
        self.view = gr.HTML(self.empty, elem_id=f"{page}-result")
        self.outputs: list[Output] = [self.view]
        gr.Button(visible=False).click(_stop, api_name=f"stop_{page}", queue=False, api_visibility="undocumented")
        assert Context.root_block is not None, "rendered into a page"
        self.opened = Context.root_block.load(_told, mine, [mine, self.work], **QUIET)

    def recent(self) -> None:
        """Render the list of recent results."""
        gr.HTML(RECENT, elem_id=f"{self.page}-recent")

    def show(self, result: Any) -> list[Any]:
        """The values of `outputs` for a result of this kind."""
        raise NotImplementedError

    def runs(self, triggers: Sequence[Callable], work: Callable, inputs: Sequence[gr.components.Component], *,
             outputs: Sequence[Any] = (), clear: Mapping[Any, Any] | None = None, **event: Any
             ) -> gr.events.Dependency:
        """Wire a page's action: any trigger starts `work`; how it goes and Stop are in sight meanwhile.

        Args:
            triggers: events of components, such as `button.click`.
            work: of `form.handler` with this page's name; gives `show(…)` and a value for each output.
            inputs: the controls whose values `work` gets.
            outputs: components besides the panel's own.
            clear: values for components besides `view` that hold the former result.
            event: api_name and so on, as for any of Gradio's events.

        Returns:
            The event.
        """
        cleared = {self.view: self.empty, **(clear or {})}
        begun = gr.on(triggers, lambda: cleared, None, [*cleared], **QUIET,
                      js=f"() => {{ whisperPanels[{self.page!r}].begin(); return []; }}")
        # Programs have the five tools of `shared.ui.tools`; what a page does is the page's own.
        event = {"api_visibility": "undocumented", **event}
        done = begun.then(work, list(inputs), [*self.outputs, *outputs], show_progress="hidden", **event)
        done.failure(None, js=f"() => {{ whisperPanels[{self.page!r}].failed(); }}", api_visibility="private")
        return done

    def reopens(self, outputs: Sequence[Any] = (), clear: Mapping[Any, Any] | None = None) -> None:
        """Wire what brings results back: of a job that was found again, and from the list of results.

        outputs: as of `runs`; they get the job's values. clear: their values for a single result of the list.
        """
        shown = [*self.outputs, *outputs]

        def reopen(asked: str, request: gr.Request) -> dict[Any, Any]:
            with messages.shown():
                owner = owners.owner_of(request.session_hash) or ""
                kind, _, name = asked.partition(":")
                running = jobs.latest(owner, self.page) if kind == "job" else None
                if running is None:
                    found = kept.get(name, owner, self._kind)
                    return {**dict(zip(self.outputs, self.show(found), strict=True)), **(clear or {})}
                values = running.outcome()
                first = kept.get(running.result_ids[0], owner, self._kind)
                return dict(zip(shown, [*self.show(first), *values[len(self.outputs) :]], strict=False))

        self.work.submit(reopen, self.work, [*dict.fromkeys([*shown, *(clear or {})])], **QUIET)
        self.work.clear(lambda: [self.empty, *(clear or {}).values()], None, [self.view, *(clear or {})], **QUIET)

    def keeps(self, **fields: gr.File | gr.Audio) -> gr.events.Dependency:
        """What a visitor sent for their last work stands in its field again when the page is opened again; what they
        clear is deleted.

        fields: the components by the names that `form.handler` has for them.

        Returns:
            The event in which the files are given back.
        """
        for name, component in fields.items():
            component.clear(_forgets(name), None, None, **QUIET)

        def back(request: gr.Request) -> list[Any]:
            found = [received.given_back(request.session_hash, name) for name in fields]
            values = [_value(paths, component) for paths, component in zip(found, fields.values(), strict=True)]
            return values if len(values) > 1 else values[0]

        return self.opened.then(back, None, list(fields.values()), **QUIET)


def _value(paths: list[str], component: gr.File | gr.Audio) -> Any:
    if not paths:
        return gr.skip()
    several = isinstance(component, gr.File) and component.file_count == "multiple"
    return paths if several else paths[0]


def _forgets(name: str) -> Callable[[gr.Request], None]:
    def forget_field(request: gr.Request) -> None:
        received.forget(request.session_hash, name)

    return forget_field


def _told(mine: str, request: gr.Request) -> tuple[str, str]:
    secret = owners.known(mine, request.session_hash)
    return secret, secret


def _stop(request: gr.Request) -> None:
    if not jobs.stop(request):
        messages.info("Nothing is running.")
