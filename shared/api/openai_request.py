"""What a form sent to /v1 asks for: the file, the checkpoint and the options, read and checked."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.datastructures import FormData, UploadFile

from shared.api.openai_forms import GRANULARITIES, RESPONSE_FORMATS
from shared.api.uploads import FileOfForm
from shared.checkpoint import Checkpoint
from shared.errors import UserError
from shared.languages import language_code
from shared.lexicon import hotwords_of
from shared.options import Options
from shared.serving import Serving

# Names by which clients ask OpenAI for a transcription: here they mean "whichever checkpoint serves the language".
AUTOMATIC = ("whisper-1", "auto", "gpt-4o-transcribe", "gpt-4o-mini-transcribe", "gpt-4o-transcribe-diarize",
             "gpt-transcribe")


class ModelNotFound(UserError):
    """The form names a model that there is not."""


@dataclass(frozen=True)
class Asked:
    """checkpoint: None for whichever serves the language. form: of the answer, one of RESPONSE_FORMATS."""

    file: FileOfForm
    checkpoint: Checkpoint | None
    options: Options
    form: str
    granularities: tuple[str, ...]
    stream: bool


def read(form: FormData, task: str, serving: Serving) -> Asked:
    """What the fields of a form mean. Raises UserError."""
    upload = form.get("file")
    if not isinstance(upload, UploadFile):
        raise UserError("There is no file in the form", hint="send the recording in the field `file`")
    wanted = _text(form, "response_format") or "json"
    if wanted not in RESPONSE_FORMATS:
        raise UserError("There is no such response_format", got=wanted, limit=", ".join(RESPONSE_FORMATS),
                        hint="choose one of those")
    # The client sends the list as timestamp_granularities[]; others leave the brackets out.
    given = [str(value) for name in ("timestamp_granularities[]", "timestamp_granularities")
             for value in form.getlist(name)]
    if unknown := set(given) - set(GRANULARITIES):
        raise UserError("There is no such timestamp granularity", got=", ".join(sorted(unknown)),
                        limit=", ".join(GRANULARITIES), hint="choose among those")
    language = _text(form, "language")
    options = Options(
        language=language_code(language) if language and language != "auto" else None, task=task,
        words="word" in given, initial_prompt=_text(form, "prompt"), hotwords=hotwords_of(_text(form, "hotwords")),
        speakers=wanted == "diarized_json")
    options.check()
    return Asked(FileOfForm(upload), _checkpoint(_text(form, "model"), serving), options, wanted,
                 tuple(given) or ("segment",), (_text(form, "stream") or "").lower() in ("true", "1"))


def names(serving: Serving) -> list[str]:
    """The models that a client may name."""
    return ["whisper-1", *_known(serving)]


def _text(form: FormData, name: str) -> str | None:
    value = form.get(name)
    return value.strip() or None if isinstance(value, str) else None


def _checkpoint(name: str | None, serving: Serving) -> Checkpoint | None:
    if name is None or name in AUTOMATIC:
        return None
    known = _known(serving)
    if name not in known:
        raise ModelNotFound(f"The model `{name}` does not exist", limit=", ".join(names(serving)),
                            hint="choose one of those")
    return known[name]


def _known(serving: Serving) -> dict[str, Checkpoint]:
    known = {"base": serving.base.checkpoint, serving.base.checkpoint.name: serving.base.checkpoint}
    if serving.fine_tuned is not None:
        tuned = serving.fine_tuned.checkpoint
        known |= {"fine-tuned": tuned, tuned.name: tuned}
    return known
