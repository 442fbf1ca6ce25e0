"""How to transcribe, as a person chooses it: language and task in sight, the rest in the Advanced fold.

Leaves: Gradio components, and `How`, the typed request that their values become. Each control has the name that Python,
the command line and the API have for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import gradio as gr
from gradio.context import Context

from shared.errors import UserError
from shared.languages import language_code
from shared.lexicon import MAX_TEXT, hotwords_of
from shared.options import ENGINES, Options
from shared.serving import BASE, FINE_TUNED, Limits, Request
from shared.ui.components.fill import fill_untouched
from shared.ui.components.language import DETECT, language_field
from shared.ui.server import sign_in

TASKS = {"transcribe": "Transcribe", "translate": "Translate to English"}
ENGINE_NAMES = {"auto": "Automatic", "torch": "PyTorch", "ctranslate2": "CTranslate2"}
NO_SPEAKERS, FIND_SPEAKERS = "off", "find"
AUTOMATIC = "auto"
DEFAULTS: dict[str, Any] = {"language": DETECT, "task": "transcribe", "engine": "auto", "beam_size": 1,
                            "vad_onset": Options().vad_onset, "initial_prompt": "", "hotwords": "",
                            "speakers": NO_SPEAKERS, "checkpoint": AUTOMATIC}
MOST_SPEAKERS = 8  # that can be chosen; more can be found


@dataclass(frozen=True)
class How:
    """How a recording is to be transcribed: what the controls of `Choices` say.

    engine: one of ENGINES. checkpoint: as `serving.Request` takes it; None: whichever serves the language.
    """

    VALUES: ClassVar[tuple[str, ...]] = (
        "language", "task", "engine", "beam_size", "vad_onset", "initial_prompt", "hotwords", "speakers",
        "checkpoint")

    options: Options
    engine: str
    checkpoint: str | None = None

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> How:
        """The values of the controls by name. Words are asked for because pages mark them. Raises UserError."""
        language = None if values["language"] in (DETECT, None, "") else language_code(values["language"])
        speakers = str(values.get("speakers") or NO_SPEAKERS)
        options = Options(
            language=language, task=values.get("task") or "transcribe", words=True, beam_size=int(values["beam_size"]),
            vad_onset=float(values["vad_onset"]), initial_prompt=(values["initial_prompt"] or "").strip() or None,
            hotwords=hotwords_of((values.get("hotwords") or "").strip() or None),
            speakers=speakers != NO_SPEAKERS, n_speakers=int(speakers) if speakers.isdecimal() else None)
        options.check()
        if values["engine"] not in ENGINES:
            raise UserError("There is no such engine", got=values["engine"], limit=", ".join(ENGINES),
                            hint="choose one")
        named = (values.get("checkpoint") or "").strip()
        return cls(options, values["engine"], None if named in ("", AUTOMATIC) else named)

    def request(self, source: str | Path, start: float = 0.0, end: float | None = None) -> Request:
        """This file, or the part of it from start to end (seconds), read like this."""
        return Request(source, self.options, self.engine, start, end, checkpoint=self.checkpoint)


@dataclass(frozen=True)
class LiveHow(How):
    """Without speakers, who can be told apart only at the end."""

    VALUES: ClassVar[tuple[str, ...]] = tuple(name for name in How.VALUES if name != "speakers")


class Choices:
    """The controls, rendered where this is made."""

    def __init__(self, languages: Iterable[str], *, translate: bool = True, limits: Limits | None = None) -> None:
        """languages: codes of those that may be chosen (`Serving.known_languages`). translate: whether the task,
        telling speakers apart and the checkpoint may be chosen. limits: which other checkpoints may be named."""
        allowed = () if limits is None else limits.allowed
        is_free = limits is not None and (limits.allowed is None or limits.signed_in)
        with gr.Row(elem_classes="choices"):
            self.language = language_field(languages)
            self.task = gr.Dropdown([(name, task) for task, name in TASKS.items()], value="transcribe", label="Task",
                                    visible=translate, filterable=False, min_width=140)
            self.speakers = gr.Dropdown(
                [("Off", NO_SPEAKERS), ("Find", FIND_SPEAKERS),
                 *((str(n), str(n)) for n in range(2, MOST_SPEAKERS + 1))],
                value=NO_SPEAKERS, label="Speakers", visible=translate, filterable=False, min_width=140)
            self.checkpoint = gr.Dropdown(
                [("Automatic", AUTOMATIC), ("Fine-tuned", FINE_TUNED), ("Base", BASE),
                 *((one, one) for one in allowed or ())],
                value=AUTOMATIC, label="Checkpoint", visible=translate, filterable=is_free,
                allow_custom_value=is_free, min_width=140)
        if translate and sign_in.is_offered():
            with gr.Accordion("A checkpoint of your own", open=False):
                sign_in.button()
        with gr.Accordion("Advanced", open=False, elem_classes="advanced"):
            self.initial_prompt = gr.Textbox(
                label="Names and special words", value="",
                placeholder="Söderström, myocardial infarction, Kubernetes …",
                info="Spelled as you want to read them; read as the text before the recording.", max_length=600)
            self.hotwords = gr.Textbox(
                label="Hotwords", value="", placeholder="Gandalf, Mines of Moria …", lines=2, max_lines=8,
                info="A list of names and terms to lean towards, with commas or one a line. It may be long.",
                max_length=MAX_TEXT)
            self.vad_onset = gr.Slider(
                0.1, 0.9, value=Options().vad_onset, step=0.05, label="What counts as speech",
                info="Lower if quiet speech is missed, higher if noise is read as words.")
            self.beam_size = gr.Slider(1, 10, value=1, step=1, label="Search width (beam)",
                                       info="1 is fastest; 5 is slower and sometimes better.")
            self.engine = gr.Dropdown([(ENGINE_NAMES.get(name, name), name) for name in ENGINES], value="auto",
                                      label="Engine", filterable=False)
        self._remember()

    def _remember(self) -> None:
        """What was chosen comes back on every page and after a reload; it is kept by the browser, not here."""
        kept = gr.BrowserState({}, storage_key="whisper-spaces-choices", secret="not a secret")
        controls = self.inputs
        quiet: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
        # The `input` of a text field comes with every letter.
        chosen = [control.blur if isinstance(control, gr.Textbox) else control.input for control in controls]
        gr.on(chosen, lambda *values: dict(zip(How.VALUES, values, strict=True)), controls, kept,
              trigger_mode="always_last", **quiet)
        assert Context.root_block is not None, "rendered into a page"
        found = gr.JSON(visible=False)
        fill_untouched(Context.root_block.load(restored, kept, found, **quiet), found,
                       dict(zip(controls, map(DEFAULTS.get, How.VALUES), strict=True)))

    def named(self, names: tuple[str, ...]) -> list[gr.components.Component]:
        """The controls of these names, in their order."""
        return [getattr(self, name) for name in names]

    @property
    def inputs(self) -> list[gr.components.Component]:
        return self.named(How.VALUES)


def restored(kept: Any) -> list[Any]:
    """For each control what the browser kept, where it is still a choice; None for what was not kept."""
    values = kept if isinstance(kept, dict) else {}
    try:
        How.read({**DEFAULTS, **values})
    except (UserError, TypeError, ValueError):  # written by an older version, or by hand
        values = {}
    return [values.get(name) for name in How.VALUES]
