"""What the five tools take: each parameter with its meaning, unit, allowed values and default.

The one source of names and descriptions for tools, API endpoints and documentation. Values are checked here, and what
is wrong with one is said in a sentence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from shared.errors import UserError
from shared.lexicon import MAX_ENTRIES, MAX_TEXT
from shared.options import ENGINES, TASKS, Options
from shared.ui.components.choices import AUTOMATIC, DETECT, FIND_SPEAKERS, MOST_SPEAKERS, NO_SPEAKERS
from shared.ui.pages.compare_clip import MAX_LETTERS
from shared.ui.pages.compare_inputs import MAX_ROWS

SPEAKERS = (NO_SPEAKERS, FIND_SPEAKERS, *map(str, range(2, MOST_SPEAKERS + 1)))
SOUND = ("an http(s) address; a data URL (data:audio/mpeg;base64,…); the path that an upload to /gradio_api/upload "
         "gave; or, where the server runs on your own machine, the full path of a file")
CHECKPOINT = ("base or fine-tuned: that one of the configured pair; a Hub id (owner/name or owner/name@commit) or, "
              "where the server runs on your own machine, the full path of a folder. On a Space one of those that "
              "`models` lists. Empty: the configured one")
Asked = TypeVar("Asked", bound="Arguments")


class Arguments(BaseModel):
    """What a call asks for. FILES: the parameters that name a file."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    FILES: ClassVar[tuple[str, ...]] = ()


class Reading(Arguments):
    """How a recording is to be read; the same for every tool."""

    language: str = Field(DETECT, description=(
        "Language that is spoken: an ISO 639-1 code (it, en, sv …) or an English name; detect: found from the sound."))
    engine: Literal[ENGINES] = Field("auto", description=(  # type: ignore[valid-type]
        "What computes: auto, torch or ctranslate2."))
    beam_size: int = Field(1, ge=1, le=10, description=(
        "Search width, 1 to 10: 1 is greedy and fastest, 5 is slower and sometimes better."))
    vad_onset: float = Field(Options().vad_onset, gt=0, lt=1, description=(
        "Probability from which sound counts as speech, above 0 and below 1: a lower value finds quieter speech, and "
        "more noise."))
    initial_prompt: str = Field("", max_length=600, description=(
        "Names and special words that may occur, spelled as wanted; at most 600 letters."))
    hotwords: str = Field("", max_length=MAX_TEXT, description=(
        "Names and terms that decoding leans towards, spelled as wanted, parted by commas or line ends; at most "
        f"{MAX_ENTRIES}. Only the engine torch follows them."))


class Spoken(Reading):
    """The same, with what only transcriptions have."""

    task: Literal[TASKS] = Field("transcribe", description=(  # type: ignore[valid-type]
        "transcribe: text in the language spoken; translate: text in English."))
    speakers: Literal[SPEAKERS] = Field(NO_SPEAKERS, description=(  # type: ignore[valid-type]
        f"Who says what. off: not told; find: told, and how many there are is found; 2 to {MOST_SPEAKERS}: so many."))
    checkpoint: str = Field(AUTOMATIC, max_length=300, description=(
        "Which model answers. auto: the fine-tuned one where it serves the language, else the base; base or "
        "fine-tuned: exactly that one; another by its Hub id where the owner allows it."))
    words: bool = Field(False, description="true: each segment also has its words, with start, end and probability.")


class Transcribe(Spoken):
    """A recording to be transcribed."""

    FILES: ClassVar[tuple[str, ...]] = ("audio",)
    audio: str = Field(min_length=1, description=f"The recording, any sound or video file: {SOUND}.")


class TranscribeLink(Spoken):
    """A link whose sound is to be transcribed."""

    link: str = Field(min_length=1, max_length=2000, description=(
        "Address of a YouTube video, or of a sound or video file on a host that the server's owner allows."))
    start: str = Field("", description="Where to begin: seconds (90) or a time (1:30, 1:02:05). Empty: the beginning.")
    end: str = Field("", description="Where to end, as start. Empty: the end.")


class Compared(Reading):
    """Which two checkpoints are compared."""

    base: str = Field("", max_length=300, description=f"Checkpoint to compare with: {CHECKPOINT}.")
    fine_tuned: str = Field("", max_length=300, description=f"Checkpoint that is judged: {CHECKPOINT}.")


class Compare(Compared):
    """A clip to be read by both checkpoints."""

    FILES: ClassVar[tuple[str, ...]] = ("audio",)
    audio: str = Field(min_length=1, description=f"The recording, any sound or video file: {SOUND}.")
    reference: str = Field("", max_length=MAX_LETTERS, description=(
        f"What is spoken, word for word, at most {MAX_LETTERS} letters. With it errors are counted; empty: the two "
        "texts are set against each other."))


class CompareTestSet(Compared):
    """A test set to be read by both checkpoints."""

    FILES: ClassVar[tuple[str, ...]] = ("archive", "table")
    archive: str = Field("", description=(
        f"A zip of clips with a CSV of the columns file and text: {SOUND}. Empty: `dataset` names the clips."))
    table: str = Field("", description="The CSV or TSV, where it is not in the zip; given as `archive` is.")
    dataset: str = Field("", max_length=2000, description="Hub id of a data set (google/fleurs) instead of a zip.")
    config: str = Field("", max_length=200, description="The data set's configuration (it_it). Empty: the only one.")
    split: str = Field("test", max_length=200, description="The data set's split.")
    n_rows: int = Field(100, ge=1, le=MAX_ROWS, description=f"Rows of the data set to read, 1 to {MAX_ROWS}.")
    audio_column: str = Field("", max_length=200, description="Column of the clips. Empty: found by its usual names.")
    text_column: str = Field("", max_length=200, description="Column of the texts. Empty: found by its usual names.")


class Models(Arguments):
    """Nothing is asked."""


def parameters(kind: type[Arguments]) -> dict[str, FieldInfo]:
    """Its parameters by name: its own first, then those that tools share."""
    own = [name for name in kind.__annotations__ if name in kind.model_fields]
    return {name: kind.model_fields[name] for name in (*own, *(name for name in kind.model_fields if name not in own))}


def schema(kind: type[Arguments]) -> dict[str, Any]:
    """JSON schema of the arguments, in the order of `parameters`."""
    made = kind.model_json_schema()
    properties = made.get("properties", {})
    made["properties"] = {name: {key: value for key, value in properties[name].items() if key != "title"}
                          for name in parameters(kind)}
    return made


def checked(kind: type[Asked], given: Mapping[str, Any]) -> Asked:
    """The arguments of a call, checked. None stands for a parameter's default.

    Raises:
        UserError: one is missing, unknown or out of range.
    """
    try:
        return kind.model_validate({name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0]) if first["loc"] else ""
    known = parameters(kind)
    if name not in known:
        raise UserError("There is no such parameter", got=name[:80], limit=", ".join(known) or "none",
                        hint="leave it out")
    if first["type"] == "missing" or given.get(name) == "":
        raise UserError(f"The parameter `{name}` is missing", hint=f"give it: {known[name].description}")
    raise UserError(f"The value of `{name}` cannot be used", got=str(given[name])[:80],
                    limit=(known[name].description or "").rstrip("."), hint="change it")
