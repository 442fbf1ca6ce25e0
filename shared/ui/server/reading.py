"""One recording read for a visitor who watches: text and progress as they come, and what there is when it is stopped.

Enters: a Request and the Job that it belongs to. Leaves: a Result. The same for every page that transcribes.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from shared.audio import MediaInfo, with_header
from shared.errors import Cancelled
from shared.serving import Answer, Request, Serving, refusal
from shared.transcript import Transcript
from shared.ui.server import results
from shared.ui.server.jobs import Job
from shared.ui.server.results import Recording, Result
from shared.units import short_clock

# Of the bar: what is left after the last word is the player's copy, the files, and with speakers the clustering.
READING, READING_WITH_SPEAKERS = 0.95, 0.88
_pace: float | None = None  # seconds of audio for each second of work, lately


def read(serving: Serving, request: Request, work: Job, name: str | None = None) -> Result:
    """Transcribe a file and write what the page hands back. Stopped, it gives the text so far, and says how far.

    Args:
        serving: answers.
        request: its source is the path of a file.
        work: gets text and progress, and may be stopped.
        name: what the files are called, else as the source.

    Raises:
        UserError: the recording or a choice cannot be used.
        Cancelled: stopped before there was any text.
    """
    path = Path(str(request.source))
    work.says("finding speech")
    begun = time.monotonic()
    share = READING_WITH_SPEAKERS if request.options.speakers else READING
    opened = replace(request, source=with_header(request.source), account=work.asker.account)

    def report(done: int, total: int | None) -> None:
        work.report(done, total)
        if total:
            work.says("telling the speakers apart" if request.options.speakers and done >= total
                      else f"passage {done} of {total}", share * min(done / total, 1.0))

    try:
        answer = serving.transcribe(opened, progress=report, on_text=work.read, cancel=work.cancel)
        _learn(answer)
        work.says("writing the files", max(work.fraction, share))
        made = results.make(answer, Recording(path, request.start, request.end, request.options.task), name,
                            cancel=work.cancel, owner=work.asker.owner)
    except Cancelled:
        if not work.segments:
            raise
        answer = _so_far(serving, opened, work, time.monotonic() - begun)
        end = request.start + work.reached
        made = results.make(answer, Recording(path, request.start, end, request.options.task), name,
                            owner=work.asker.owner)
    work.result_ids.append(made.id)
    return made


def seconds_for(duration: float, at_most: float) -> float:
    """How long a recording of `duration` seconds takes to read here, by the last one; `at_most` where none was read."""
    return at_most if _pace is None else duration / _pace


def _so_far(serving: Serving, request: Request, work: Job, seconds: float) -> Answer:
    """The text of a job that was ended before all was read."""
    language = request.options.language or work.language or "en"
    total = _length(request)
    where = short_clock(work.reached) + (f" of {short_clock(total)}" if total else "")
    why = f"Nobody was connected any more, so this ended at {where}" if work.is_left else f"Stopped at {where}"
    speakers = " Speakers were not told apart." if request.options.speakers else ""
    warning = f"{why}; the text so far is below.{speakers}"
    transcript = Transcript(tuple(work.segments), language, work.reached, (warning,))
    if request.checkpoint is not None:
        return Answer(transcript, serving.named(request.checkpoint, request.account), None, seconds)
    tuned = serving.fine_tuned
    notice = serving.problem if tuned is None else refusal(
        tuned, replace(request.options, language=language))
    chosen = serving.base if tuned is None or notice else tuned
    return Answer(transcript, chosen.checkpoint, notice, seconds)


def _learn(answer: Answer) -> None:
    global _pace
    if answer.transcript.duration > 2.0 and answer.rtfx:  # a very short one tells the start-up, not the pace
        _pace = answer.rtfx if _pace is None else (_pace + answer.rtfx) / 2


def _length(request: Request) -> float | None:
    """Seconds of the part that was asked for, where the file says how long it is."""
    if not isinstance(request.source, MediaInfo) or request.source.duration is None:
        return None
    return min(request.end or request.source.duration, request.source.duration) - request.start
