"""The clips that come with the apps, with the text of each. Origin and licences: examples/README.md."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import gradio as gr

from shared.errors import UserError
from shared.ui.components.choices import How

FOLDER = Path(__file__).parents[1] / "examples"


@dataclass(frozen=True)
class Clip:
    """label: for a button. language: ISO 639-1. text: the reference, word for word."""

    label: str
    file: str
    language: str
    text: str

    @property
    def path(self) -> str:
        return str(FOLDER / self.file)


CLIPS = (
    Clip("Italian: a full mailbox", "it_vm-mailboxfull.flac", "it",
         "Spiacente, ma la casella di posta dell'utente non può accettare ulteriori messaggi."),
    Clip("Italian: a greeting", "it_vm-tmpexists.flac", "it",
         "C'è un saluto temporaneo, che viene usato al posto del tuo messaggio di benvenuto standard."),
    Clip("English: Jane Austen", "en_austen-0890.ogg", "en",
         "unless to be rather cold-hearted and rather selfish is to be ill-disposed:"),
)


@dataclass(frozen=True)
class AskedExample:
    """example: number of the clip that is to be transcribed."""

    example: int
    how: How


def row() -> gr.Dataset:
    """The clips as buttons; a click gives the clip's number, for `clip`."""
    return gr.Dataset(components=[gr.Textbox(visible=False)], samples=[[clip.label] for clip in CLIPS], type="index",
                      label="No speech at hand? Try one of these", elem_classes="examples")


def clip(number: int) -> Clip:
    """Raises UserError for a number that there is not."""
    if number not in range(len(CLIPS)):
        raise UserError("There is no such example", got=number, limit=f"0 to {len(CLIPS) - 1}", hint="choose another")
    return CLIPS[number]
