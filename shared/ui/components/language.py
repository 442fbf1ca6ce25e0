"""The field for the spoken language: found by its English name, its own name, or any of its codes, the nearest first.

Gradio's own list looks for the letters anywhere, so that "fr" and Enter chose Afrikaans. `language.js` ranks.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import gradio as gr

from shared.languages import language_name, names_of
from shared.ui import STATIC

DETECT = "detect"
TEMPLATE = """<label class="field-label" for="spoken-language">Spoken language</label>
<div class="combo"><input id="spoken-language" role="combobox" aria-autocomplete="list" aria-expanded="false"
aria-controls="spoken-languages" autocomplete="off" autocapitalize="off" spellcheck="false">
<ul id="spoken-languages" role="listbox" aria-label="Languages" hidden></ul></div>"""


def language_field(offered: Iterable[str], value: str = DETECT, *, elem_id: str | None = None) -> gr.HTML:
    """Its value is an ISO 639-1 code, or DETECT; from a program any name that `language_code` knows.

    Args:
        offered: codes of the languages in the list.
        value: the code to begin with; with DETECT it may be left to the model.
        elem_id: of the component.
    """
    choices = _choices(offered)
    return gr.HTML(value, label="Spoken language", html_template=TEMPLATE, elem_classes="language", min_width=140,
                   elem_id=elem_id, js_on_load=(STATIC / "language.js").read_text(encoding="utf-8"),
                   choices=choices if value == DETECT else choices[1:])


def _choices(offered: Iterable[str]) -> list[dict[str, Any]]:
    """For the script: value, name in English, name of its own, and all that it may be called."""
    spoken = sorted(((code, language_name(code)) for code in offered), key=lambda item: item[1])
    return [{"value": DETECT, "name": "Detect", "own": "", "codes": [], "names": ["Detect", "automatic"]}] + [
        {"value": code, "name": name, "own": next(iter(names_of(code).names), ""), "codes": names_of(code).codes,
         "names": [name, *names_of(code).names]} for code, name in spoken]
