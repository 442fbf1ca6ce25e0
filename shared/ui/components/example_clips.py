"""The clips that come with the apps, with the text of each. Origin and licences: examples/README.md."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import gradio as gr

from shared.errors import UserError
from shared.serving import Serving
from shared.ui.components.choices import How

FOLDER = Path(__file__).parents[1] / "examples"


# What the pair that comes with the program does on a clip, on every engine; tests/ui/test_examples.py measures it.
HELPS, HURTS, BOTH_RIGHT, BOTH_WRONG = "tuning helps", "tuning hurts", "both are right", "both go wrong"
SHIPPED = ("embedded:whisper-base", "embedded:whisper-base-it")


@dataclass(frozen=True)
class Clip:
    """label: for a button. language: ISO 639-1. text: the reference, word for word. shows: one of the four above."""

    label: str
    file: str
    language: str
    text: str
    shows: str

    @property
    def path(self) -> str:
        return str(FOLDER / self.file)


CLIPS = (
    Clip("Italian: a greeting", "it_vm-tmpexists.flac", "it",
         "C'è un saluto temporaneo, che viene usato al posto del tuo messaggio di benvenuto standard.", HELPS),
    Clip("Italian: a full mailbox", "it_vm-mailboxfull.flac", "it",
         "Spiacente, ma la casella di posta dell'utente non può accettare ulteriori messaggi.", HURTS),
    Clip("English: Jane Austen", "en_austen-0890.ogg", "en",
         "unless to be rather cold-hearted and rather selfish is to be ill-disposed:", BOTH_RIGHT),
    Clip("Spanish: please hold", "es_pls-hold-while-try.ogg", "es",
         "Por favor espere mientras intento enlazar su llamada.", BOTH_WRONG),
)


@dataclass(frozen=True)
class AskedExample:
    """example: number of the clip that is to be transcribed."""

    example: int
    how: How


def row() -> gr.Dataset:
    """The clips as buttons; a click gives the clip's number, for `clip`."""
    return _buttons([clip.label for clip in CLIPS])


def compared_row(serving: Serving) -> gr.Dataset:
    """The same, each with what it shows; of another pair of checkpoints that is not known beforehand."""
    tuned = serving.fine_tuned
    pair = (str(serving.base.checkpoint), str(tuned.checkpoint) if tuned else "")
    languages = tuned.languages if tuned else None
    labels = []
    for clip in CLIPS:
        elsewhere = languages is not None and clip.language not in languages
        shows = [clip.shows] if pair == SHIPPED else []
        labels.append(f"{clip.label} — {', '.join([*shows, *(['not tuned for it'] * elsewhere)])}"
                      if shows or elsewhere else clip.label)
    return _buttons(labels)


def _buttons(labels: list[str]) -> gr.Dataset:
    return gr.Dataset(components=[gr.Textbox(visible=False)], samples=[[label] for label in labels], type="index",
                      label="No speech at hand? Try one of these", elem_classes="examples")


def clip(number: int) -> Clip:
    """Raises UserError for a number that there is not."""
    if number not in range(len(CLIPS)):
        raise UserError("There is no such example", got=number, limit=f"0 to {len(CLIPS) - 1}", hint="choose another")
    return CLIPS[number]
