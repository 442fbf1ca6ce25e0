"""A whole test set read by two checkpoints: pooled rates with intervals, the paired difference, a row for each clip.

Enters: a ClipSet and two loaded checkpoints. Leaves: an Evaluation (see `shared.testset`), its HTML and its files.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import secrets
import tempfile
from collections.abc import Iterator
from html import escape
from itertools import chain
from pathlib import Path
from typing import Any

from shared import charts
from shared.audio import Waveform, load_audio
from shared.errors import UserError
from shared.inference import Transcriber
from shared.options import Options
from shared.serving import Request, Serving
from shared.testset import MAX_CLIP_SECONDS, Clip, ClipSet, Evaluation, ScoredClip, as_csv, as_jsonl, evaluate
from shared.ui import RESULTS, ROOT
from shared.ui.pages.compare_clip import NAMES, language_name, rate_titles, tuning_notes
from shared.ui.pages.compare_inputs import CompareHow
from shared.ui.render import alignment as diff
from shared.ui.server.jobs import Job
from shared.ui.server.messages import without_paths
from shared.units import spoken_time
from shared.wer import MIN_UTTERANCES, Comparison, Interval, Rate

N_SHOWN = 200  # rows of the table on the page; the files have them all
N_TRIED = 5  # clips that may fail before detecting the language is given up


def compare_set(serving: Serving, clips: ClipSet, pair: tuple[Transcriber, Transcriber], how: CompareHow, work: Job
                ) -> tuple[Evaluation, list[str]]:
    """Every clip by both checkpoints, exactly these.

    Returns:
        The evaluation, and notes for the reader.

    Raises:
        UserError: no clip could be read, or a choice cannot be used.
        Cancelled: the work was stopped.
    """
    options = how.options
    longest = min(MAX_CLIP_SECONDS, serving.limits.max_seconds or MAX_CLIP_SECONDS)
    notes = list(clips.warnings)
    language = options.language
    if language is None:
        work.says("detecting the language")
        language, clips = _detected(serving, clips, options, longest, work)
        options = dataclasses.replace(options, language=language)
        notes.append(f"{language_name(language)}, as the base model detected it in the first clip; both "
                     "were told so for all.")
    notes += tuning_notes(pair, language)
    for one in pair:
        one.check(options)  # what fails for every clip fails once

    def read(transcriber: Transcriber, waveform: Waveform) -> str:
        return serving.transcribe_with(transcriber.checkpoint, Request(waveform, options, how.engine),
                                       cancel=work.cancel).transcript.text

    def tell(done: int, total: int | None) -> None:
        work.says(f"{done} of {total} clips read" if total else f"{done} clips read", done / total if total else None)

    transcribers = {name: functools.partial(read, one) for name, one in zip(NAMES, pair, strict=True)}
    evaluation = evaluate(clips, transcribers, language=options.language, max_clip_seconds=longest, progress=tell,
                          cancel=work.cancel)
    failed = tuple(dataclasses.replace(clip, message=without_paths(clip.message)) for clip in evaluation.failed)
    return dataclasses.replace(evaluation, failed=failed), [without_paths(note) for note in notes]


def as_dict(evaluation: Evaluation, pair: tuple[Transcriber, Transcriber], notes: list[str]) -> dict[str, Any]:
    """The summary for programs; the rows are in the CSV and the JSON lines."""
    compared = evaluation.comparisons[0]
    return {
        "origin": evaluation.origin, "language": evaluation.language, "notes": notes, "n_clips": len(evaluation.clips),
        "audio_seconds": evaluation.audio_seconds, "verdict": compared.verdict,
        "verdict_text": verdict_text(evaluation),
        "difference": {"wer": compared.difference, "low": compared.low, "high": compared.high},
        "sides": [{"name": name, "checkpoint": without_paths(str(one.checkpoint)), "rtfx": evaluation.rtfx(name),
                   **{kind: _rate_dict(getattr(score, kind)) for kind in
                      ("words", "characters", "raw_words", "raw_characters")}}
                  for name, one, score in zip(evaluation.names, pair, evaluation.scores, strict=True)],
        "failed": [dataclasses.asdict(clip) for clip in evaluation.failed],
    }


def _rate_dict(rate: Rate) -> dict[str, Any]:
    return {**diff.as_dict(rate.errors), "interval": list(rate.interval) if rate.interval else None}


def write_files(evaluation: Evaluation, summary: dict[str, Any]) -> list[str]:
    """CSV, JSON lines and the summary, in a folder that only the visitor's page knows the name of."""
    folder = RESULTS / secrets.token_urlsafe(16)
    folder.mkdir(parents=True)
    texts = {"clips.csv": "\ufeff" + as_csv(evaluation),  # the mark tells spreadsheets that this is UTF-8
             "clips.jsonl": as_jsonl(evaluation), "summary.json": json.dumps(summary, ensure_ascii=False, indent=1)}
    for name, text in texts.items():
        Path(folder, name).write_text(text, encoding="utf-8", newline="")
    return [str(folder / name) for name in texts]


def verdict_text(evaluation: Evaluation) -> str:
    """Whether the difference is real, in one sentence."""
    compared = evaluation.comparisons[0]
    if compared.verdict == "too short to tell":
        return (f"Too short to tell: {len(evaluation.clips)} clips were read, and {MIN_UTTERANCES} are the fewest from "
                "which an interval can be had.")
    low, high = compared.low or 0.0, compared.high or 0.0
    span = (f"{diff.points(compared.difference)} points, 95\u00a0% interval {diff.points(low)} to "
            f"{diff.points(high)}")
    if compared.verdict == "no difference shown":
        return f"No difference shown: the interval holds zero ({span})."
    fewer = "fewer" if compared.verdict == "better" else "more"
    return f"The fine-tuned model makes {fewer} word errors, and that is real: {span}."


def html(evaluation: Evaluation, notes: list[str]) -> str:
    """Verdict, rates, plots, what failed, and a row for each clip."""
    told = "".join(f'<p class="notice" role="status">{escape(note)}</p>' for note in notes)
    return (f'<div class="comparison">{told}<p class="verdict">{escape(verdict_text(evaluation))}</p>'
            f"{_rates(evaluation)}{_plots(evaluation)}{_failed(evaluation)}{_clips(evaluation)}</div>")


def _detected(serving: Serving, clips: ClipSet, options: Options, longest: float, work: Job) -> tuple[str, ClipSet]:
    """The language of the first clip that can be read, and the set as it was before anyone looked."""
    rest = iter(clips.clips)
    seen: list[Clip] = []
    problem: UserError | None = None
    while len(seen) < N_TRIED and (clip := next(rest, None)) is not None:
        seen.append(clip)
        try:
            waveform = _waveform(clip, longest, work)
            return serving.detect(Request(waveform, options), cancel=work.cancel), _with(clips, chain(seen, rest))
        except UserError as error:
            problem = error
    raise problem or UserError("The test set holds no clips", got=clips.origin, hint="choose another")


def _waveform(clip: Clip, longest: float, work: Job) -> Waveform:
    with tempfile.TemporaryDirectory(prefix="clip-", dir=ROOT) as folder:
        path = Path(folder, f"clip{clip.suffix}")  # formats without a header are told by their suffix
        path.write_bytes(clip.read())
        return load_audio(path, max_seconds=longest, cancel=work.cancel)


def _with(clips: ClipSet, again: Iterator[Clip]) -> ClipSet:
    return dataclasses.replace(clips, clips=again)


def _rates(evaluation: Evaluation) -> str:
    words, characters = rate_titles(evaluation.language)
    scores = evaluation.scores
    rows = []
    for title, kind in ((words, "words"), (characters, "characters"), (f"{words}, as written", "raw_words"),
                        (f"{characters}, as written", "raw_characters")):
        each = [getattr(score, kind) for score in scores]
        rows.append((title, [diff.rate(one.errors) for one in each]))
        rows.append(("95\u00a0% interval", [diff.interval_text(one.interval) for one in each]))
    rows.append(("Counts", [diff.counts(score.words.errors) for score in scores]))
    rows.append(("Speed", [f"{evaluation.rtfx(name):.1f}× real time" for name in evaluation.names]))
    return (f'{diff.rates_table(evaluation.names, rows)}<p class="small">{len(evaluation.clips)} clips, '
            f"{spoken_time(evaluation.audio_seconds)}, {escape(evaluation.origin)}. Rates are of pooled counts; the "
            "bootstrap draws whole clips. The first rows leave case and punctuation out; “as written” counts them.</p>")


def _plots(evaluation: Evaluation) -> str:
    scores, compared = evaluation.scores, evaluation.comparisons[0]
    rates = charts.rates(evaluation.names, [score.wer for score in scores],
                             [score.words.interval for score in scores], "Word error rate with its 95 % interval")
    difference = charts.difference(compared.difference, _interval(compared),
                                       "Fine-tuned minus base: left of the line is better")
    base, fine_tuned = ([clip.results[place].errors.words.wer for clip in evaluation.clips] for place in (0, 1))
    clips = charts.scatter(base, fine_tuned, [clip.id for clip in evaluation.clips],
                               "A dot for each clip: below the line, fine-tuned did better")
    return f'<div class="plots"><div>{rates}{difference}</div>{clips}</div>'


def _interval(compared: Comparison) -> Interval | None:
    return None if compared.low is None or compared.high is None else Interval(compared.low, compared.high)


def _failed(evaluation: Evaluation) -> str:
    if not evaluation.failed:
        return ""
    rows = "".join(f"<li><b>{escape(clip.id)}</b>: {escape(clip.message)}</li>" for clip in evaluation.failed[:N_SHOWN])
    n_failed = len(evaluation.failed)
    said = ("1 clip could not be scored and counts" if n_failed == 1 else
            f"{n_failed} clips could not be scored and count")
    return (f'<details class="notice"><summary>{said} for neither</summary>'
            f"<ul>{rows}</ul></details>")


def _clips(evaluation: Evaluation) -> str:
    rows = "".join(_row(clip, evaluation.language) for clip in evaluation.clips[:N_SHOWN])
    left = len(evaluation.clips) - N_SHOWN
    more = f'<p class="small">{left} more clips are in the files.</p>' if left > 0 else ""
    head = "".join(f'<th scope="col">{name}</th>' for name in ("Clip", *evaluation.names))
    return (f'<div class="clips-table"><table class="rates"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
            f"</div>{more}{diff.LEGEND}")


def _row(clip: ScoredClip, language: str | None) -> str:
    aligned = "".join(f'<p class="label">{name}</p>{diff.aligned_html(heard.errors.words, language)}'
                      for name, heard in zip(NAMES, clip.results, strict=True))
    cells = "".join(f"<td>{diff.rate(heard.errors.words)}</td>" for heard in clip.results)
    return (f'<tr><td><details><summary>{escape(clip.id)}</summary><p class="label">Reference</p>'
            f"{diff.text_html(clip.reference, language)}{aligned}</details></td>{cells}</tr>")
