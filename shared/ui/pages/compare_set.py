"""A whole test set read by two checkpoints: pooled rates with intervals, the paired difference, a row for each clip.

Enters: a ClipSet and two loaded checkpoints. Leaves: an Evaluation (see `shared.testset`), its HTML and its files.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import tempfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from shared.audio import Waveform, load_audio
from shared.errors import UserError
from shared.inference import Transcriber
from shared.options import Options
from shared.serving import Request, Serving
from shared.testset import MAX_CLIP_SECONDS, Clip, ClipSet, Evaluation, as_csv, as_jsonl, evaluate
from shared.ui import ROOT
from shared.ui.pages.compare_clip import NAMES, TRANSLATED, language_name, tuning_notes, with_task
from shared.ui.pages.compare_inputs import CompareHow
from shared.ui.pages.compare_set_view import verdict_text
from shared.ui.pages.compare_sounds import Sounds
from shared.ui.render import alignment as diff
from shared.ui.server.jobs import Job
from shared.ui.server.messages import without_paths
from shared.wer import Rate

N_TRIED = 5  # clips that may fail before detecting the language is given up


def compare_set(serving: Serving, clips: ClipSet, pair: tuple[Transcriber, Transcriber], how: CompareHow, work: Job,
                sounds: Sounds | None = None) -> tuple[Evaluation, list[str]]:
    """Every clip by both checkpoints, exactly these.

    sounds: keeps what the page plays.

    Returns:
        The evaluation, and notes for the reader.

    Raises:
        UserError: no clip could be read, or a choice cannot be used.
        Cancelled: the work was stopped.
    """
    options = with_task(how.options, pair)
    longest = min(MAX_CLIP_SECONDS, serving.limits.max_seconds or MAX_CLIP_SECONDS)
    notes = [*clips.warnings, *([] if options.task == "transcribe" else [TRANSLATED])]
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

    if sounds is not None:
        clips = sounds.of(clips)

    def read(transcriber: Transcriber, waveform: Waveform) -> str:
        if sounds is not None:
            sounds.keep(waveform)
        return serving.transcribe_with(transcriber.checkpoint, Request(
            waveform, options, how.engine, account=work.asker.account), cancel=work.cancel).transcript.text

    def tell(done: int, total: int | None) -> None:
        work.says(f"{done} of {total} clips read" if total else f"{done} clips read", done / total if total else None)

    transcribers = {name: functools.partial(read, one) for name, one in zip(NAMES, pair, strict=True)}
    written = pair[1].facts.writes(language, options.task)
    evaluation = evaluate(clips, transcribers, language=written, max_clip_seconds=longest, progress=tell,
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


def write_files(evaluation: Evaluation, summary: dict[str, Any], folder: Path) -> tuple[Path, ...]:
    """CSV, JSON lines and the summary, in this folder."""
    texts = {"clips.csv": "\ufeff" + as_csv(evaluation),  # the mark tells spreadsheets that this is UTF-8
             "clips.jsonl": as_jsonl(evaluation), "summary.json": json.dumps(summary, ensure_ascii=False, indent=1)}
    for name, text in texts.items():
        Path(folder, name).write_text(text, encoding="utf-8", newline="")
    return tuple(folder / name for name in texts)


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
