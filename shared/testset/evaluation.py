"""A whole test set through two or more transcribers: a row for each clip, pooled scores, and which is better.

Enters: a ClipSet (of `zip_clips` or `hub_clips`) and what turns a waveform into text. Leaves: an Evaluation, plain
frozen values, and its CSV and JSON lines. Knows nothing of checkpoints and engines: the transcribers are
functions, so the apps, evaluation and benchmarks score in one and the same way. What words and errors are is
`shared.wer`'s business.
"""

from __future__ import annotations

import csv
import io
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from shared.audio import Waveform, load_audio
from shared.errors import Cancelled, UserError
from shared.system.temporary import temporary_folder
from shared.testset.clips import Clip, ClipSet, FailedClip, capped
from shared.wer import Comparison, Score, UtteranceErrors, compare, score, utterance_errors

MAX_CLIP_SECONDS = 300.0
Transcribe = Callable[[Waveform], str]
Progress = Callable[[int, "int | None"], None]  # (clips done, of how many; None where the source does not say)


@dataclass(frozen=True)
class ClipResult:
    """What one transcriber gave for one clip. work_seconds: wall time of the transcriber, without decoding the file."""

    hypothesis: str
    errors: UtteranceErrors
    work_seconds: float


@dataclass(frozen=True)
class ScoredClip:
    """What all transcribers gave for one clip.

    Attributes:
        id, reference: as in `Clip`.
        audio_seconds: length of the clip.
        results: one for each transcriber, in their order.
    """

    id: str
    reference: str
    audio_seconds: float
    results: tuple[ClipResult, ...]


@dataclass(frozen=True)
class Evaluation:
    """A whole test set, scored and compared.

    Attributes:
        origin: where the clips are from, for a person.
        language: by which words were divided; ISO 639-1 or None.
        names: of the transcribers, in their order.
        clips: each with one result per transcriber.
        failed: clips that count for no transcriber, so that the comparison stays paired.
        scores: in the order of the transcribers.
        comparisons: [i] is transcriber i + 1 against the first.
        warnings: of the source.
    """

    origin: str
    language: str | None
    names: tuple[str, ...]
    clips: tuple[ScoredClip, ...]
    failed: tuple[FailedClip, ...]
    scores: tuple[Score, ...]
    comparisons: tuple[Comparison, ...]
    warnings: tuple[str, ...]

    @property
    def audio_seconds(self) -> float:
        """Length of all scored clips together."""
        return sum(clip.audio_seconds for clip in self.clips)

    def rtfx(self, name: str) -> float:
        """How fast one transcriber was.

        Args:
            name: one of `names`.

        Returns:
            Seconds of audio per second of its work.
        """
        place = self.names.index(name)
        return self.audio_seconds / max(sum(clip.results[place].work_seconds for clip in self.clips), 1e-9)


def evaluate(
    clips: ClipSet,
    transcribers: Mapping[str, Transcribe],
    *,
    language: str | None = None,
    max_clip_seconds: float = MAX_CLIP_SECONDS,
    seed: int = 0,
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
) -> Evaluation:
    """Transcribe every clip with every transcriber, score, and compare each with the first.

    One bad clip is listed in `failed` and the rest goes on, also if the source breaks off.

    Args:
        clips: of `zip_clips` or `hub_clips`.
        transcribers: name → function of a Waveform that gives its text; it may raise UserError.
        language: ISO 639-1; decides how words are divided.
        max_clip_seconds: a longer clip fails.
        seed: of the draws that give intervals.
        progress: called with (clips done, of how many; None where the source does not say).
        cancel: looked at before each call and while a file is decoded.

    Returns:
        Scores over all clips that every transcriber could read.

    Raises:
        UserError: nothing was scored.
        Cancelled: `cancel` was set.
    """
    if not transcribers:
        raise ValueError("evaluate needs at least one transcriber")
    scored: list[ScoredClip] = []
    failed = list(clips.failed)
    total = clips.n_clips
    for done, clip in enumerate(_until_broken(clips, failed)):
        if progress is not None:
            progress(done, total)
        try:
            scored.append(_scored(clip, transcribers, language, max_clip_seconds, cancel))
        except UserError as error:
            failed.append(FailedClip(clip.id, str(error)))
    if not scored:
        raise UserError("No clip of the test set could be scored", got=_first_reason(failed), hint="check the clips")
    if progress is not None:
        progress(len(scored) + len(failed) - len(clips.failed), total)
    each = [[clip.results[place].errors for clip in scored] for place in range(len(transcribers))]
    words = [[errors.words for errors in of_one] for of_one in each]
    return Evaluation(
        origin=clips.origin, language=language, names=tuple(transcribers), clips=tuple(scored), failed=capped(failed),
        scores=tuple(score(of_one, seed=seed) for of_one in each),
        comparisons=tuple(compare(words[0], other, seed=seed) for other in words[1:]),
        warnings=clips.warnings,
    )


def _until_broken(clips: ClipSet, failed: list[FailedClip]) -> Iterator[Clip]:
    try:
        yield from clips.clips
    except UserError as error:  # of the source itself: what came before it is good
        failed.append(FailedClip("(all that follow)", str(error)))


def _scored(
    clip: Clip, transcribers: Mapping[str, Transcribe], language: str | None, max_seconds: float,
    cancel: threading.Event | None,
) -> ScoredClip:
    _stop_if(cancel)
    if not clip.reference.strip():
        raise UserError("The clip has no reference text", hint="write down what is said")
    waveform = _decoded(clip, max_seconds, cancel)
    results = []
    for transcribe in transcribers.values():
        _stop_if(cancel)
        start = time.perf_counter()
        hypothesis = transcribe(waveform)
        seconds = time.perf_counter() - start
        results.append(ClipResult(hypothesis, utterance_errors(clip.reference, hypothesis, language), seconds))
    return ScoredClip(clip.id, clip.reference, waveform.duration, tuple(results))


def _decoded(clip: Clip, max_seconds: float, cancel: threading.Event | None) -> Waveform:
    with temporary_folder("clip-") as folder:
        path = folder / f"clip{clip.suffix}"
        path.write_bytes(clip.read())
        return load_audio(path, max_seconds=max_seconds, cancel=cancel)


def _stop_if(cancel: threading.Event | None) -> None:
    if cancel is not None and cancel.is_set():
        raise Cancelled


def _first_reason(failed: list[FailedClip]) -> str:
    return f"{len(failed)} failed, the first ({failed[0].id}): {failed[0].message}" if failed else "no clips"


def as_csv(evaluation: Evaluation) -> str:
    """A row for each clip and transcriber, failed clips last with their reason.

    Args:
        evaluation: what `evaluate` gave.

    Returns:
        The file's text; it opens in a spreadsheet.
    """
    columns = ["clip", "transcriber", "reference", "hypothesis", "wer", "cer", "words", "substitutions", "deletions",
               "insertions", "audio_seconds", "work_seconds", "failed"]
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, columns, restval="")
    writer.writeheader()
    for row in _rows(evaluation):
        writer.writerow({name: f"{value:.4f}" if isinstance(value, float) else _harmless(value)
                         for name, value in row.items()})
    for clip in evaluation.failed:
        writer.writerow({"clip": _harmless(clip.id), "failed": _harmless(clip.message)})
    return out.getvalue()


def _harmless(value: object) -> object:
    """Text that a spreadsheet would take for a formula gets an apostrophe before it.

    https://owasp.org/www-community/attacks/CSV_Injection
    """
    formula = isinstance(value, str) and value.lstrip().startswith(("=", "+", "-", "@"))
    return f"'{value}" if formula else value


def as_jsonl(evaluation: Evaluation) -> str:
    """The rows of `as_csv` as JSON lines, with the alignment of words as [kind, reference, hypothesis].

    Args:
        evaluation: what `evaluate` gave.

    Returns:
        The file's text.
    """
    rows = [{**row, "alignment": alignment} for row, alignment in
            zip(_rows(evaluation), _alignments(evaluation), strict=True)]
    rows += [{"clip": clip.id, "failed": clip.message} for clip in evaluation.failed]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _rows(evaluation: Evaluation) -> Iterator[dict[str, object]]:
    for clip in evaluation.clips:
        for name, result in zip(evaluation.names, clip.results, strict=True):
            words = result.errors.words
            yield {
                "clip": clip.id, "transcriber": name, "reference": clip.reference, "hypothesis": result.hypothesis,
                "wer": words.wer, "cer": result.errors.characters.wer, "words": words.reference_length,
                "substitutions": words.substitutions, "deletions": words.deletions, "insertions": words.insertions,
                "audio_seconds": clip.audio_seconds, "work_seconds": result.work_seconds,
            }


def _alignments(evaluation: Evaluation) -> Iterator[list[list[str]]]:
    for clip in evaluation.clips:
        for result in clip.results:
            yield [list(step) for step in result.errors.words.alignment]
