"""Which windows are decoded together: of like length, and as many as the engine has room for.

Enters: `Job`s in the order of the recording, as they become known. Leaves: the segments of each as they are found. What
the model left unread of a window waits for others of its kind, so that it does not cost decoder steps of its own.
Knows nothing of files and progress, nor how a language was found.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from shared.audio.windows import Window
from shared.errors import Cancelled
from shared.options import Options
from shared.transcript import Segment
from shared.whisper_constants import FRAMES_PER_POSITION

if TYPE_CHECKING:
    from shared.inference.window_decoder import WindowDecoder


@dataclass(eq=False)
class Job:
    """A window to be decoded.

    place: of the window in the recording, from 0. decoder: what decodes it. language: its code. states: the encoder's,
    where it has been encoded already. is_rest: what was left unread of the window in that place.
    """

    place: int
    window: Window
    decoder: WindowDecoder
    language: str
    states: Any = None
    is_rest: bool = False

    @property
    def n_positions(self) -> int:
        """Of the encoder, that it takes."""
        return self.decoder.context.n_frames(self.window.duration) // FRAMES_PER_POSITION


class Found(NamedTuple):
    """Segments of a job. rest: what was left unread, which will be decoded and found later; None: nothing."""

    job: Job
    segments: list[Segment]
    rest: Window | None


class Batches:
    """The jobs of one recording on their way through the decoder."""

    def __init__(self, jobs: Iterable[Job], pool_seconds: Sequence[float] = (float("inf"),), *, in_order: bool = False
                 ) -> None:
        """jobs: in the order of the recording; they are taken as they are needed.

        pool_seconds: seconds of speech from which batches are chosen, round by round; the last one goes on.
        in_order: somebody reads along, so what is left of a window is decoded in the next round; else it may wait
        until there is enough for a batch.
        """
        self._jobs, self._sizes, self._in_order = iter(jobs), iter(pool_seconds), in_order
        self._waiting: list[Job] = []  # in the order of their arrival
        self.n_known, self.known_until = 0, 0.0  # jobs taken so far, and the second of the audio at which they end
        self.all_known = False
        self.n_done = 0

    def decoded(self, options: Options, cancel: threading.Event | None = None) -> Iterator[list[Found]]:
        """Decode everything, a batch at a time. options.language: each job has its own. Raises Cancelled."""
        size = 0.0
        while True:
            size = next(self._sizes, size)
            self._fill(size)
            if not self._waiting:
                return
            for batch in self._round():
                if cancel is not None and cancel.is_set():
                    raise Cancelled
                self._waiting = [job for job in self._waiting if job not in batch]
                found = batch[0].decoder.together.decode(batch, options, cancel)
                self._waiting += [Job(job.place, rest, job.decoder, job.language, is_rest=True)
                                  for job, _, rest in found if rest is not None]
                self.n_done += sum(rest is None for _, _, rest in found)
                yield found

    def _fill(self, seconds: float) -> None:
        held = sum(job.window.duration for job in self._waiting if not job.is_rest)
        while held < seconds and not self.all_known:
            job = next(self._jobs, None)
            self.all_known = job is None
            if job is not None:
                self._waiting.append(job)
                self.n_known, self.known_until = self.n_known + 1, job.window.end
                held += job.window.duration

    def _round(self) -> list[list[Job]]:
        """The batches to decode now, that of the oldest window first. What is not full may wait for more, but no
        window for longer than a round."""
        age = {id(job): n for n, job in enumerate(self._waiting)}
        oldest = next((n for n, job in enumerate(self._waiting) if not job.is_rest), len(age))

        def is_due(batch: list[Job], is_full: bool) -> bool:
            first = min(age[id(job)] for job in batch)
            return is_full or self.all_known or first <= oldest or (self._in_order and batch[0].is_rest)

        due = [batch for batch, is_full in grouped(self._waiting) if is_due(batch, is_full)]
        return sorted(due, key=lambda batch: min(job.place for job in batch))


def grouped(jobs: Sequence[Job]) -> Iterator[tuple[list[Job], bool]]:
    """Jobs that may be decoded together, by length, each group with whether the engine has no room for more."""
    kinds: dict[tuple[int, str, bool], list[Job]] = {}
    for job in jobs:
        kinds.setdefault((id(job.decoder), job.language, job.is_rest), []).append(job)
    for kind in kinds.values():
        engine = kind[0].decoder.engine
        group: list[Job] = []
        for job in sorted(kind, key=lambda one: one.n_positions):
            n_rows = len(group) + 1
            if group and (n_rows > engine.batch_size or n_rows * job.n_positions > engine.max_positions):
                yield group, True
                group = []
            group.append(job)
        if group:
            yield group, False


class InOrder:
    """What was found, given out in the order of the recording.

    Of a window of which something is left, what comes before that is given at once.
    """

    def __init__(self) -> None:
        self.n_done = 0  # windows of which all has been given, and all before them
        self.reached = 0.0  # seconds of the audio up to which all has been given
        self._found: dict[int, list[Found]] = {}

    def add(self, found: Iterable[Found]) -> list[tuple[str, list[Segment]]]:
        """What can be given now: (language, segments), neighbours in one language together."""
        for one in found:
            self._found.setdefault(one.job.place, []).append(one)
        ready: list[tuple[str, list[Segment]]] = []
        while self.n_done in self._found:
            parts = self._found.pop(self.n_done)
            for part in parts:
                if not ready or ready[-1][0] != part.job.language:
                    ready.append((part.job.language, []))
                ready[-1][1].extend(part.segments)
            if parts[-1].rest is not None:
                break
            self.n_done, self.reached = self.n_done + 1, parts[-1].job.window.end
        return ready
