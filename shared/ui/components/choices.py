"""How to transcribe, as a person chooses it: language and task in sight, the rest in the Advanced fold.

Leaves: Gradio components in the order of `read`, which turns their values into `inference.Options`.
"""

from __future__ import annotations

import gradio as gr

from shared.engines import ENGINES
from shared.errors import UserError
from shared.languages import LANGUAGES
from shared.options import Options

DETECT = "detect"
TASKS = {"transcribe": "Transcribe", "translate": "Translate to English"}
ENGINE_NAMES = {"auto": "Automatic", "torch": "PyTorch", "ctranslate2": "CTranslate2"}
NO_SPEAKERS, FIND_SPEAKERS = "off", "find"
MOST_SPEAKERS = 8  # that can be chosen; more can be found
MIDDLE = 0.5  # of the slider "Find quieter speech": the onset the speech detector was made for


class Choices:
    """Rendered where it is made. `inputs`: language, task, engine, beam_size, quiet_speech, names, speakers."""

    def __init__(self, *, translate: bool = True) -> None:
        """translate: whether the task and telling speakers apart may be chosen."""
        with gr.Row(elem_classes="choices"):
            self.language = gr.Dropdown(
                [("Detect", DETECT), *sorted((name, code) for code, name in LANGUAGES.items())], value=DETECT,
                label="Spoken language", filterable=True, min_width=140)
            self.task = gr.Dropdown([(name, task) for task, name in TASKS.items()], value="transcribe", label="Do what",
                                    visible=translate, filterable=False, min_width=140)
            self.speakers = gr.Dropdown(
                [("Off", NO_SPEAKERS), ("Tell apart", FIND_SPEAKERS),
                 *((f"There are {n}", str(n)) for n in range(2, MOST_SPEAKERS + 1))],
                value=NO_SPEAKERS, label="Speakers", visible=translate, filterable=False, min_width=140)
        with gr.Accordion("Advanced", open=False, elem_classes="advanced"):
            self.names = gr.Textbox(
                label="Names and special words", value="",
                placeholder="Söderström, myocardial infarction, Kubernetes …",
                info="Spelled as you want to read them; the model will lean towards them.", max_length=600)
            self.quiet_speech = gr.Slider(
                0.1, 0.9, value=MIDDLE, step=0.05, label="Find quieter speech",
                info="To the right if speech is missed, to the left if noise is read as words.")
            self.beam_size = gr.Slider(1, 10, value=1, step=1, label="Search width (beam)",
                                       info="1 is fastest; 5 is slower and sometimes better.")
            self.engine = gr.Dropdown([(ENGINE_NAMES.get(name, name), name) for name in ENGINES], value="auto",
                                      label="Engine", filterable=False)

    @property
    def inputs(self) -> list[gr.components.Component]:
        return [*self.live_inputs, self.speakers]

    @property
    def live_inputs(self) -> list[gr.components.Component]:
        """Without speakers, who can be told only once all is said."""
        return [self.language, self.task, self.engine, self.beam_size, self.quiet_speech, self.names]


def read(language: str, task: str, beam_size: float, quiet_speech: float, names: str, speakers: str = NO_SPEAKERS
         ) -> Options:
    """The values of `Choices.inputs` without the engine, as Options; words are asked for because pages mark them.

    Raises UserError for a language that is none of Whisper's; the model checks the rest.
    """
    if language not in (DETECT, None, "") and language not in LANGUAGES:
        raise UserError("There is no such language", got=language, hint=f"choose one, or {DETECT!r}")
    return Options(
        language=None if language in (DETECT, None, "") else language, task=task, words=True, beam_size=int(beam_size),
        vad_onset=round(1 - float(quiet_speech), 3), initial_prompt=(names or "").strip() or None,
        speakers=speakers != NO_SPEAKERS, n_speakers=int(speakers) if speakers.isdecimal() else None)
