"""What the five tools do: their arguments in, their answers out. Everything is done by what the pages use as well."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic

from pydantic import BaseModel

from shared import testset
from shared.errors import UserError
from shared.serving import Answer, Request, Serving
from shared.transcript import Transcript
from shared.ui.components.choices import NO_SPEAKERS, How
from shared.ui.pages import compare_clip, compare_set
from shared.ui.pages.compare_inputs import HUB, ZIP, AskedTestSet, CompareHow, clips_of, pair
from shared.ui.server import jobs
from shared.ui.server.jobs import Asker, Job
from shared.ui.server.messages import without_paths
from shared.ui.tools import answers
from shared.ui.tools.arguments import (
    Asked,
    Compare,
    Compared,
    CompareTestSet,
    Models,
    Spoken,
    Transcribe,
    TranscribeLink,
)
from shared.ui.tools.files import Files
from shared.units import parse_time

N_CLIPS = 50  # of a test set in an answer: what a reader, or a model's context, can take


@dataclass(frozen=True)
class Work:
    """What a call needs besides its arguments."""

    serving: Serving
    files: Files
    job: Job


@dataclass(frozen=True)
class Tool(Generic[Asked]):
    """A tool, an API endpoint, a section of the documentation. lane: of the queue, None for what takes no time."""

    name: str
    title: str
    description: str
    takes: type[Asked]
    gives: type[BaseModel]
    run: Callable[[Asked, Work], Any]
    lane: str | None = jobs.MODEL


@dataclass(frozen=True)
class Caller:
    """Who calls a tool. bar, gone: as `jobs.awaited` takes them."""

    asker: Asker
    bar: Callable[..., Any] | None = None
    gone: Callable[[], Awaitable[bool]] | None = None


async def called(tool: Tool[Any], asked: Any, serving: Serving, files: Files, caller: Caller) -> Any:
    """What a tool answers, once its turn has come: a value of `tool.gives`.

    Raises:
        UserError, Cancelled: as the tool's own work, and Busy where too much is waiting.
    """
    def work(job: Job) -> Any:
        return tool.run(asked, Work(serving, files, job))

    if tool.lane is None:
        return await asyncio.to_thread(work, Job(caller.asker))
    lane, audio = tool.lane, getattr(asked, "audio", None)
    if lane == jobs.MODEL and audio is not None:
        lane = await asyncio.to_thread(files.lane, audio)
    running = jobs.submit(caller.asker, work, lane=lane)
    return await jobs.awaited(running, caller.bar, caller.gone)


def transcribe(asked: Transcribe, work: Work) -> answers.Transcription:
    """The text of a recording, by whichever of the two checkpoints serves its language."""
    with work.files.opened(asked.audio, work.job) as path:
        return _read(path, asked, work)


def transcribe_link(asked: TranscribeLink, work: Work) -> answers.Transcription:
    """The text of what is behind a link, or of a part of it."""
    start, end = (parse_time(text) if text.strip() else None for text in (asked.start, asked.end))
    with work.files.fetched(asked.link, work.job, start=start, end=end) as path:
        return _read(path, asked, work, start or 0.0, end)


def compare(asked: Compare, work: Work) -> answers.Comparison:
    """Both checkpoints on one clip."""
    how = _compare_how(asked, work.serving)
    with work.files.opened(asked.audio, work.job) as path:
        found = compare_clip.compare_clip(work.serving, Request(path, how.options, how.engine), asked.reference,
                                          pair(work.serving, how, work.job), work.job)
    sides = [_side(side) for side in found.sides]
    return answers.Comparison(language=found.language, reference=found.reference or None,
                              verdict=compare_clip.verdict_text(found), sides=sides, notes=list(found.notes))


def compare_test_set(asked: CompareTestSet, work: Work) -> answers.Evaluation:
    """Both checkpoints on every clip of a test set."""
    if bool(asked.archive) == bool(asked.dataset):
        raise UserError("A test set is one of two things", got="both" if asked.archive else "neither",
                        limit="`archive` or `dataset`", hint="give one of them")
    serving, how = work.serving, _compare_how(asked, work.serving)
    with contextlib.ExitStack() as opened:
        paths = {name: str(opened.enter_context(work.files.opened(given, work.job, archive=True))) if given else None
                 for name, given in (("archive", asked.archive), ("table", asked.table))}
        both = pair(serving, how, work.job)
        source = AskedTestSet(
            ZIP if asked.archive else HUB, paths["archive"], paths["table"], asked.dataset, asked.config, asked.split,
            asked.n_rows, asked.audio_column, asked.text_column, how)
        clips = opened.enter_context(clips_of(source, serving.limits, work.job.cancel))
        found, notes = compare_set.compare_set(serving, clips, both, how, work.job)
    summary = compare_set.as_dict(found, both, notes)
    difference = summary["difference"]
    rows = sorted(found.clips, key=lambda clip: abs(_wers(clip)[1] - _wers(clip)[0]), reverse=True)
    return answers.Evaluation(
        origin=without_paths(summary["origin"]), language=summary["language"], n_clips=summary["n_clips"],
        audio_seconds=summary["audio_seconds"], verdict=summary["verdict"], verdict_text=summary["verdict_text"],
        difference=difference["wer"], difference_low=difference["low"], difference_high=difference["high"],
        scores=[_score(side) for side in summary["sides"]],
        clips=[answers.ScoredClip(id=clip.id, reference=clip.reference, wers=_wers(clip),
                                  texts=[result.hypothesis for result in clip.results]) for clip in rows[:N_CLIPS]],
        n_clips_left_out=max(0, len(rows) - N_CLIPS), failed=[answers.FailedClip(**clip) for clip in summary["failed"]],
        notes=summary["notes"])


def models(_: Models, work: Work) -> answers.ModelList:
    """Which checkpoints answer, and what may be sent."""
    serving, limits = work.serving, work.serving.limits
    found = [answers.Model(name=without_paths(str(one.checkpoint)), role=role, languages=_codes(one.languages),
                           description=without_paths(one.checkpoint.describe()), task=one.facts.task)
             for role, one in (("base", serving.base), ("fine-tuned", serving.fine_tuned)) if one is not None]
    found += [answers.Model(name=name, role="allowed", description=name, languages=None, task=None)
              for name in limits.allowed or limits.listed]
    return answers.ModelList(models=found, any_checkpoint=limits.allowed is None, max_seconds=limits.max_seconds,
                             max_bytes=limits.max_bytes, local_files=work.files.own)


TOOLS: tuple[Tool[Any], ...] = (
    Tool("transcribe", "Transcribe a recording",
         "Transcribe a sound or video file of any length with Whisper: text, and segments with times. The fine-tuned "
         "checkpoint answers where it serves the language, else the base one.",
         Transcribe, answers.Transcription, transcribe),
    Tool("transcribe_link", "Transcribe a link",
         "Transcribe what is spoken behind a link to YouTube or to a media file, or a part of it.",
         TranscribeLink, answers.Transcription, transcribe_link, jobs.LINKS),
    Tool("compare", "Compare two checkpoints on a clip",
         "Read one clip with the base and with the fine-tuned checkpoint. With a reference text the word errors of "
         "both are counted.", Compare, answers.Comparison, compare),
    Tool("compare_test_set", "Compare two checkpoints on a test set",
         "Read every clip of a test set with both checkpoints: pooled word error rates, their intervals, and whether "
         "the difference is real.", CompareTestSet, answers.Evaluation, compare_test_set),
    Tool("models", "List the checkpoints",
         "Which checkpoints answer here, the languages they were tuned for, and how large a recording may be.",
         Models, answers.ModelList, models, None),
)


def _read(path: Path, asked: Spoken, work: Work, start: float = 0.0, end: float | None = None
          ) -> answers.Transcription:
    how = How.read(asked.model_dump())
    request = replace(how.request(path, start, end), options=replace(how.options, words=asked.words))
    work.job.says("finding speech")
    answer = work.serving.transcribe(request, progress=work.job.report, cancel=work.job.cancel)
    return _transcription(answer, asked.words)


def _transcription(answer: Answer, words: bool) -> answers.Transcription:
    transcript: Transcript = answer.transcript
    segments = [answers.Segment(
        start=one.start, end=one.end, text=one.text, speaker=one.speaker,
        words=[answers.Word(text=word.text.strip(), start=word.start, end=word.end, probability=word.probability)
               for word in one.words] if words else []) for one in transcript.segments]
    notes = [without_paths(note) for note in (answer.notice, *transcript.warnings) if note]
    return answers.Transcription(text=transcript.text, language=transcript.language, duration=transcript.duration,
                                 segments=segments, checkpoint=without_paths(str(answer.checkpoint)), notes=notes)


def _compare_how(asked: Compared, serving: Serving) -> CompareHow:
    """Raises UserError where there is no second checkpoint."""
    if serving.fine_tuned is None:
        raise UserError("There is nothing to compare", got=without_paths(serving.problem or ""),
                        hint="start the suite with another FINE_TUNED")
    return CompareHow.read({**asked.model_dump(), "speakers": NO_SPEAKERS, "task": "transcribe"})


def _side(side: compare_clip.Side) -> answers.Side:
    made = answers.Side(name=side.name, checkpoint=without_paths(str(side.answer.checkpoint)),
                        text=side.answer.transcript.text, wer=None, cer=None, errors=None, reference_words=None,
                        rtfx=side.answer.rtfx)
    if side.errors is None:
        return made
    words = side.errors.words
    return made.model_copy(update={"wer": words.wer, "cer": side.errors.characters.wer, "errors": words.errors,
                                   "reference_words": words.reference_length})


def _score(side: dict[str, Any]) -> answers.Score:
    words, interval = side["words"], side["words"]["interval"] or (None, None)
    return answers.Score(name=side["name"], checkpoint=side["checkpoint"], wer=words["rate"], wer_low=interval[0],
                         wer_high=interval[1], cer=side["characters"]["rate"], errors=words["errors"],
                         reference_words=words["reference_length"], rtfx=side["rtfx"])


def _wers(clip: testset.ScoredClip) -> list[float]:
    return [result.errors.words.wer for result in clip.results]


def _codes(languages: tuple[str, ...] | None) -> list[str] | None:
    return None if languages is None else list(languages)


