"""One clip read by two checkpoints: what each understood, how far from the reference, or from each other.

Enters: a file, two loaded checkpoints, and a reference where there is one. Leaves: plain values, and their HTML. One
utterance has counts and rates, but no interval: the bootstrap is over utterances.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from html import escape
from typing import Any

from shared.errors import UserError
from shared.inference import Transcriber
from shared.languages import language_name
from shared.options import Options
from shared.serving import Answer, Request, Serving, describe_engine
from shared.ui.render import alignment as diff
from shared.ui.render.scores import Score, scoreboard
from shared.ui.server.jobs import Job
from shared.ui.server.messages import without_paths
from shared.units import spoken_time
from shared.wer import UtteranceErrors, WordErrors, normalise, unit, utterance_errors, word_errors

NAMES = ("Base", "Fine-tuned")
MAX_LETTERS = 20_000  # of a reference: about half an hour of speech; aligning costs its square
TRANSLATED = "Both were told to translate, as the fine-tuned model was tuned to."
TOO_SHORT = "One clip is too short to tell which model is better. A test set of some dozens can."


@dataclass(frozen=True)
class Side:
    """errors: against the reference, None without one. engine: on which the checkpoint ran."""

    name: str
    answer: Answer
    engine: str
    errors: UtteranceErrors | None


@dataclass(frozen=True)
class Compared:
    """language: of the speech. text_language: of reference and texts, by which words are counted.

    sides: base, fine-tuned. notes: what the reader should know before the numbers.
    """

    language: str
    text_language: str
    reference: str
    sides: tuple[Side, Side]
    notes: tuple[str, ...]


def compare_clip(serving: Serving, request: Request, reference: str, pair: tuple[Transcriber, Transcriber], work: Job
                 ) -> Compared:
    """Both checkpoints on the same file, exactly these, whatever its language.

    Args:
        serving: what transcribes.
        request: the clip and how to transcribe it.
        reference: its text; empty where nobody knows it.
        pair: base and fine-tuned checkpoint, loaded.
        work: shows progress, and says when to stop.

    Raises:
        UserError: the clip or the reference cannot be used.
        Cancelled: the work was stopped.
    """
    reference, options = reference.strip(), with_task(request.options, pair)
    if len(reference) > MAX_LETTERS:
        raise UserError("The reference is too long", got=f"{len(reference)} letters", limit=MAX_LETTERS,
                        hint="compare a shorter clip, or send a test set")
    if reference and not normalise(reference, pair[1].facts.writes(options.language, options.task)):
        raise UserError("The reference holds no words", got=reference[:40],
                        hint="write what is spoken, or leave it empty")
    work.says("finding speech")
    notes: list[str] = [] if options.task == "transcribe" else [TRANSLATED]
    language = options.language
    if language is None:
        language = serving.detect(request, cancel=work.cancel)
        options = dataclasses.replace(options, language=language)
        notes.append(f"{language_name(language)}, as the base model detected it; both were told so.")
    notes += tuning_notes(pair, language)
    request = dataclasses.replace(request, options=options, account=work.asker.account)
    answers = []
    for name, transcriber in zip(NAMES, pair, strict=True):
        work.part(name)
        answers.append(serving.transcribe_with(transcriber.checkpoint, request, progress=work.report,
                                               cancel=work.cancel))
    work.part("")
    work.says("comparing")
    notes += dict.fromkeys(without_paths(warning) for answer in answers for warning in answer.transcript.warnings)
    written = pair[1].facts.writes(language, options.task) or language
    base, fine_tuned = (
        Side(name, answer, describe_engine(transcriber),
             utterance_errors(reference, answer.transcript.text, written) if reference else None)
        for name, answer, transcriber in zip(NAMES, answers, pair, strict=True))
    return Compared(language, written, reference, (base, fine_tuned), tuple(notes))


def with_task(options: Options, pair: tuple[Transcriber, Transcriber]) -> Options:
    """Both sides translate where the fine-tuned checkpoint was tuned to; the page has no choice of it."""
    return dataclasses.replace(options, task="translate") if pair[1].facts.task == "translate" else options


def tuning_notes(pair: tuple[Transcriber, Transcriber], language: str) -> list[str]:
    """What to say if a checkpoint was tuned for other languages than the one spoken."""
    return [f"{name} was tuned for {', '.join(map(language_name, one.languages))}, not for {language_name(language)}: "
            "its text shows what tuning cost elsewhere." for name, one in zip(NAMES, pair, strict=True)
            if one.languages is not None and language not in one.languages]


def as_dict(compared: Compared) -> dict[str, Any]:
    """For programs."""
    return {"language": compared.language, "reference": compared.reference or None, "notes": list(compared.notes),
            "verdict": "too short to tell" if compared.reference else None,
            "sides": [_side_dict(side) for side in compared.sides]}


def html(compared: Compared) -> str:
    """The answer first: rates, or how far apart the texts are; then the aligned words; the rest is folded."""
    notes = "".join(f'<p class="notice" role="status">{escape(note)}</p>' for note in compared.notes)
    sides = "".join(_side(side, compared.text_language) for side in compared.sides)
    sides = f'<div class="sides">{sides}</div>'
    if not compared.reference:
        return f'<div class="comparison">{_between(compared)}{sides}{notes}</div>'
    return (f'<div class="comparison">{_scores(compared)}<p class="verdict">{escape(verdict_text(compared))}</p>{sides}'
            f"{diff.LEGEND}{notes}{_numbers(compared)}</div>")


def verdict_text(compared: Compared) -> str:
    """The difference on this clip in a sentence, and what one clip can tell; without a reference, of the two texts."""
    if not compared.reference:
        return _apart(compared)[0]
    base, tuned = (side.errors.words for side in compared.sides if side.errors is not None)
    kind = "character" if unit(compared.text_language) == "character" else "word"
    if base.errors == tuned.errors:
        found = "Both texts are right" if not base.errors else (
            f"Both make {_errors(base.errors, kind)} in {base.reference_length} {kind}s")
    else:
        fewer = "fewer" if tuned.errors < base.errors else "more"
        found = f"Fine-tuned makes {_errors(abs(tuned.errors - base.errors), kind, fewer)} than base"
    return f"{found}. {TOO_SHORT}"


def _errors(n_errors: int, kind: str, more: str = "") -> str:
    return " ".join(filter(None, (str(n_errors), more, kind, "error" if n_errors == 1 else "errors")))


def _scores(compared: Compared) -> str:
    title = rate_titles(compared.text_language)[0]
    scores = [Score(name_class, side.name, side.errors.words.wer,
                    note=f"{side.errors.words.errors} of {side.errors.words.reference_length} wrong")
              for name_class, side in zip(("base", "tuned"), compared.sides, strict=True) if side.errors is not None]
    return scoreboard(scores, title)


def rate_titles(language: str | None) -> tuple[str, str]:
    """What the two rates are called; where words are not parted by spaces both count characters."""
    if unit(language) == "character":
        return "Error rate, by character", "Character error rate"
    return "Word error rate (WER)", "Character error rate (CER)"


def _side(side: Side, language: str) -> str:
    answer = side.answer
    written = (f"{diff.text_html(answer.transcript.text, language)}"
               f'<p class="who">{escape(without_paths(answer.checkpoint.describe()))} · '
               f"{spoken_time(answer.transcript.duration)} of sound read in {answer.seconds:.1f} s, "
               f"{answer.rtfx:.1f}× real time · {escape(side.engine)}</p>")
    shown = written
    if side.errors:
        shown = diff.aligned_html(side.errors.words, language) + diff.folded("As written", written)
    return f'<section class="side" aria-label="{side.name}"><h2>{side.name}</h2>{shown}</section>'


def _numbers(compared: Compared) -> str:
    words, characters = rate_titles(compared.text_language)
    errors = [side.errors for side in compared.sides if side.errors is not None]
    rows = [(words, [diff.rate(one.words) for one in errors]),
            (characters, [diff.rate(one.characters) for one in errors]),
            ("Counts", [diff.counts(one.words) for one in errors]),
            (f"{words}, as written", [diff.rate(one.raw_words) for one in errors]),
            (f"{characters}, as written", [diff.rate(one.raw_characters) for one in errors])]
    table = (f'<p class="label">Reference</p>{diff.text_html(compared.reference, compared.text_language)}'
             f'{diff.rates_table(NAMES, rows)}<p class="small">The first rows leave case and punctuation out; “as '
             "written” counts them. Speed is of this one run.</p>")
    return diff.folded("All rates and counts", table)


def _apart(compared: Compared) -> tuple[str, WordErrors]:
    """How far the two texts are from each other: in a sentence, and aligned."""
    first, second = (side.answer.transcript.text for side in compared.sides)
    between = word_errors(first, second, compared.text_language)
    return ("The two texts are the same, but for case and punctuation." if not between.errors else
            f"The two texts differ in {between.errors} of {between.hits + between.errors} places."), between


def _between(compared: Compared) -> str:
    verdict, between = _apart(compared)
    return (f'<div class="between"><p class="verdict">{verdict}</p>'
            f"{diff.aligned_html(between, compared.text_language)}{diff.between_legend(*NAMES)}"
            '<p class="small">Without the true text nobody knows which of them is right, so there is no error rate: '
            "the two are set against each other.</p></div>")


def _side_dict(side: Side) -> dict[str, Any]:
    answer = side.answer
    errors = side.errors and {kind: diff.as_dict(getattr(side.errors, kind)) for kind in
                              ("words", "characters", "raw_words", "raw_characters")}
    alignment = side.errors and [list(step) for step in side.errors.words.alignment]
    return {"name": side.name, "checkpoint": without_paths(str(answer.checkpoint)), "engine": side.engine,
            "text": answer.transcript.text, "audio_seconds": answer.transcript.duration,
            "work_seconds": answer.seconds, "rtfx": answer.rtfx, "errors": errors, "alignment": alignment}
