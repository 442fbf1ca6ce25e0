"""Values that a page gets back after it was opened: in the browser, and only where nobody has chosen anything yet."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import gradio as gr


def fill_untouched(after: gr.events.Dependency, found: gr.JSON, fields: Mapping[gr.components.Component, Any]
                   ) -> gr.events.Dependency:
    """What the server sends replaces whatever stands in a field, also what was typed since it was asked. So the values
    go into a hidden component, from where the browser takes them into the fields that are as they were.

    Args:
        after: the event whose output `found` is.
        found: a list with a value for each field, null for none.
        fields: the components, with what stands in each when the page is opened.

    Returns:
        The event in which the fields are filled.
    """
    js = f"""(found, ...now) => {{
        const untouched = {json.dumps(list(fields.values()))};
        return now.map((value, i) => value === untouched[i] && found?.[i] != null ? found[i] : value);
    }}"""
    return after.then(None, [found, *fields], [*fields], js=js, api_visibility="private")
