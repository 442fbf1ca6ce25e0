"""`transcribe` for recordings: a text, or files, for each of them.

Enters: a request whose values are right. Leaves: one file per input and format, or text on standard output. What can
be known to fail is reported before anything is loaded; what fails later belongs to its input and is reported
at the end.
"""

from __future__ import annotations

import functools
import json
import sys
import traceback
from collections.abc import Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from itertools import chain, islice, repeat
from typing import TYPE_CHECKING, NamedTuple

from shared.cli.inputs import Failure, Input, as_file, find_inputs
from shared.cli.options import FilesRequest
from shared.cli.targets import Job, planned, unwritable, write
from shared.errors import UserError
from shared.system.command import DONE, SOME_FAILED, ended_by_signals, no_more_output, system_words, tell
from shared.transcript import Transcript, to_txt
from shared.units import spoken_time

if TYPE_CHECKING:  # they take long to import
    from tqdm import tqdm

    from shared.cli.answering import Answering
    from shared.serving import Answer

N_HEADERS = 4  # read at the same time


def run(request: FilesRequest) -> int:
    """Do every input. Gives the exit code; raises UserError where nothing can be done at all."""
    inputs, failures = find_inputs(request.inputs)
    jobs = planned(inputs, request.output, request.formats if request.to_files else (), request.overwrite)
    todo = _not_done(jobs, request)
    writable = []
    for job in todo:
        reason = unwritable(job)
        if reason is None:
            writable.append(job)
        else:
            failures.append(Failure(job.input.shown, reason))
    if failures and not writable:
        raise _nothing_possible(failures)
    if writable:
        with ended_by_signals():
            failures += _Run(request, len(writable)).all(writable)
    for failure in failures:
        tell(f"transcribe: {failure.shown}: {failure.reason}")
    return SOME_FAILED if failures else DONE


class _Looked(NamedTuple):
    """A job, the place of its input from 1, and what it may be decoded with; None: nothing."""

    number: int
    job: Job
    kind: Hashable | None


class _Run:
    """The inputs in order, neighbours that are short as one."""

    def __init__(self, request: FilesRequest, n_jobs: int) -> None:
        from shared.cli.answering import Answering

        self._request, self._n_jobs = request, n_jobs
        self._answering: Answering = Answering(request.model, request.quiet, request.options)
        self._reader_left = False
        self._last_words = ""

    def all(self, jobs: Sequence[Job]) -> list[Failure]:
        from shared.inference import WATCHED, in_groups

        failures = []
        for group in in_groups(self._looked_at(jobs), lambda one: one.kind, WATCHED):
            for (number, job, _), known in zip(group, self._together(group), strict=True):
                try:
                    if isinstance(known, UserError):
                        raise known
                    self._one(job, known or self._answer(job.input, self._lead(number)))
                except BrokenPipeError:
                    raise
                except UserError as error:
                    failures.append(Failure(job.input.shown, str(error)))
                except OSError as error:
                    failures.append(Failure(job.input.shown, system_words(error)))
                except Exception as error:  # a fault of the program costs its input, not the hundred that follow
                    traceback.print_exc()
                    failures.append(Failure(job.input.shown,
                                            f"a fault of this program: {type(error).__name__}: {error}"))
                else:
                    continue
                if self._request.json:
                    self._print(json.dumps({"input": failures[-1].shown, "error": failures[-1].reason}))
        return failures

    def _looked_at(self, jobs: Sequence[Job]) -> Iterator[_Looked]:
        """Each with its number and kind; headers are read some at a time, no more of them than may soon be wanted."""
        from shared.inference import WATCHED

        left = iter(enumerate(jobs, 1))
        with ThreadPoolExecutor(N_HEADERS) as readers:
            for size in chain(WATCHED, repeat(WATCHED[-1])):
                block = list(islice(left, size))
                if not block:
                    return
                kinds = readers.map(lambda one: self._kind(one[1]), block)
                yield from (_Looked(*one, kind) for one, kind in zip(block, kinds, strict=True))

    def _kind(self, job: Job) -> Hashable | None:
        """What may be decoded together: short files, as many as the shell named. What is fetched or piped comes by
        itself."""
        from shared.serving import Request, kind_of

        if self._n_jobs == 1 or job.input.path is None or job.input.is_stream:
            return None
        return kind_of(Request(job.input.path, self._request.options, track=self._request.track))

    def _together(self, group: Sequence[_Looked]) -> Sequence[Answer | UserError | None]:
        """The answers to short recordings, decoded as one; None for each that has to be asked by itself."""
        paths = [one.job.input.path for one in group if one.job.input.path is not None]
        if len(group) == 1 or len(paths) != len(group):
            return [None] * len(group)
        first, last = group[0].number, group[-1].number
        with self._bar(f"[{first}–{last}/{self._n_jobs}] {len(group)} short recordings") as bar:
            try:
                return list(self._answering.each(paths, self._request.options, self._request.track,
                                                 functools.partial(_show, bar)))
            except Exception:  # it may be the fault of one of them
                return [None] * len(group)

    def _lead(self, number: int) -> str:
        return f"[{number}/{self._n_jobs}] " if self._n_jobs > 1 else ""

    def _one(self, job: Job, answer: Answer) -> None:
        transcript = answer.transcript
        if not transcript.text.strip():
            none = f"No speech was found in {spoken_time(transcript.duration)} of sound"
            transcript = replace(transcript, warnings=(*transcript.warnings, none))
        for warning in transcript.warnings:
            tell(f"{job.input.shown}: {warning}")
        self._tell_checkpoint(job.input, answer)
        try:
            write(job, transcript, self._request.formats if job.targets else ())
        except UserError:
            if not self._request.json:
                self._print(to_txt(transcript).rstrip("\n"))  # rather here than lost
            raise
        finally:
            if self._request.json:
                self._print(_row(job.input, transcript, answer))
        if not job.targets and not self._request.json:
            title = f"{job.input.shown}:\n" if self._n_jobs > 1 else ""
            self._print(title + to_txt(transcript).rstrip("\n"))

    def _answer(self, one: Input, lead: str) -> Answer:
        """The answer for one input, with a bar that knows the total."""
        with ExitStack() as stack:
            title = f"{lead}{one.shown}"[-40:]
            with self._bar(title, " %", 100) as bar:
                path = as_file(one, stack, lambda part, text: bar.update((part or 0) * 100 - bar.n))
            bar = stack.enter_context(self._bar(title))
            return self._answering.answer(path, self._request.options, self._request.track,
                                          functools.partial(_show, bar))

    def _bar(self, title: str, unit: str = " windows", total: int | None = None) -> tqdm:
        from tqdm import tqdm

        return tqdm(desc=title, unit=unit, total=total, disable=self._request.quiet or None, leave=False,
                    file=sys.stderr)

    def _tell_checkpoint(self, one: Input, answer: Answer) -> None:
        """Which checkpoint answered, when that is not what it was for the input before."""
        words = f"answered by {answer.checkpoint.describe()}" + (f". {answer.notice}" if answer.notice else "")
        if not self._request.quiet:
            if words != self._last_words:
                tell(f"{one.shown}: {words}")
            if sys.stderr.isatty():
                tell(f"{one.shown}: {answer.rtfx:.1f} × real time")
        self._last_words = words

    def _print(self, text: str) -> None:
        """On standard output; where its reader has left, files are still written."""
        if self._reader_left or not text:
            return
        try:
            print(text, flush=True)
        except BrokenPipeError:
            if not self._request.to_files:
                raise
            self._reader_left = True
            no_more_output()


def _show(bar: tqdm, done: int, total: int | None) -> None:
    bar.total = total
    bar.update(done - bar.n)


def _row(one: Input, transcript: Transcript, answer: Answer) -> str:
    """One JSON object, in ASCII where the reader's encoding is not UTF-8."""
    is_utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    return json.dumps({"input": one.shown, "seconds_of_work": round(answer.seconds, 3),
                       "checkpoint": str(answer.checkpoint), **transcript.to_dict()}, ensure_ascii=not is_utf8)


def _not_done(jobs: Sequence[Job], request: FilesRequest) -> list[Job]:
    if request.overwrite:
        return list(jobs)
    todo = [job for job in jobs if not job.is_done]
    done = [job for job in jobs if job.is_done]
    older = [job for job in done if job.is_older]
    if len(done) == 1:
        age = ", older than the recording," if older else ""
        tell(f"{done[0].input.shown}: {done[0].targets[0]} is there already{age} and is left alone "
             "(--overwrite to redo)")
    elif done:
        age = f"; {len(older)} of them are older than the recording, such as {older[0].targets[0]}" if older else ""
        tell(f"{len(done)} of {len(jobs)} were finished before and are left alone{age} (--overwrite to redo)")
    for job in todo:
        for path in sorted(job.kept):
            tell(f"{job.input.shown}: {path} is there already and is left alone (--overwrite to redo)")
    return todo


def _nothing_possible(failures: Sequence[Failure]) -> UserError:
    first = failures[0]
    if len(failures) == 1:
        return UserError(f"{first.shown}: {first.reason}")
    return UserError(f"None of the {len(failures)} inputs can be done; the first, {first.shown}: {first.reason}")
