"""A comparison that the page hands back, and where it is shown: as text against text, with files for a test set."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, ClassVar

import gradio as gr

from shared.ui.components.work_panel import WorkPanel
from shared.ui.server import kept
from shared.ui.server.jobs import Job
from shared.ui.server.kept import Kept


@dataclass(frozen=True, kw_only=True)
class Comparison(Kept):
    """data: for programs. html: for people. files: for download, in the folder. verdict: a sentence."""

    KIND: ClassVar[str] = "comparison"

    data: dict[str, Any]
    html: str
    files: tuple[Path, ...]
    seconds: float
    verdict: str

    @property
    def duration(self) -> float:
        return self.seconds

    @property
    def text(self) -> str:
        return self.verdict


class ComparePanel(WorkPanel):
    """Rendered where it is made. `outputs`: what a program wants, then what a person sees."""

    def __init__(self) -> None:
        super().__init__("compare", "Both texts appear here, word against word.", Comparison)
        with gr.Column(visible=False, elem_classes="after") as self.after:
            self._files = gr.File(label="Downloads", file_count="multiple", interactive=False,
                                  elem_id="compare-downloads")
        self.recent()
        self._data = gr.JSON(visible=False)
        self.outputs = [self._data, self.view, self._files, self.after]

    def show(self, result: Comparison) -> list[Any]:
        html = f'<div data-result="{escape(result.id)}">{result.html}</div>'
        return [result.data, html, [str(path) for path in result.files] or None, gr.Column(visible=bool(result.files))]

    def finished(self, work: Job, made: Comparison) -> list[Any]:
        """The values of `outputs` for what this work made, which its owner finds from now on."""
        kept.keep(made)
        work.result_ids.append(made.id)
        return self.show(made)
