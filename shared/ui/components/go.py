"""A page's one primary button. While there is nothing to do it cannot be pressed, and says why."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr

QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


class Go:
    """Rendered where it is made. `parts`: the button and its reason, the outputs that `ready` has values for."""

    def __init__(self, label: str, why: str, *, elem_id: str, visible: bool = True) -> None:
        """why: what is missing, and what to do."""
        self.button = gr.Button(label, variant="primary", interactive=False, visible=visible, elem_id=elem_id)
        self.why = gr.HTML(f'<p class="why">{escape(why)}</p>', visible=visible, elem_id=f"{elem_id}-why")
        self.click = self.button.click
        self.parts = [self.button, self.why]

    def ready(self, is_ready: bool, *, shown: bool = True) -> list[Any]:
        """Values for `parts`. shown: False for a button that another takes the place of."""
        return [gr.Button(interactive=is_ready, visible=shown), gr.HTML(visible=shown and not is_ready)]

    def needs(self, *components: gr.components.Component) -> None:
        """There is something to do while any of these has a value."""
        given = list(components)
        gr.on([one.change for one in given], lambda *values: self.ready(any(map(_is_given, values))), given, self.parts,
              trigger_mode="always_last", **QUIET)


def _is_given(value: Any) -> bool:
    return bool(value.strip() if isinstance(value, str) else value)
