"""Short recordings decoded as one: what is decoded together follows from the recordings and their order alone.

Enters: recordings of at most a window. Leaves: what was found in each. Threads read the files, and nothing else: were
the batches those that happen to wait, as in `together`, 8 bits would round the same clip otherwise from run to run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from shared.audio import AudioSource
from shared.audio.windows import Window
from shared.errors import UserError
from shared.inference.batches import Batches, Job
from shared.inference.spoken_languages import Languages
from shared.options import Options
from shared.transcript import Segment, Transcript

if TYPE_CHECKING:
    from shared.inference.transcriber import Choose, Progress, Transcriber

# Recordings from which batches of like length are chosen: four of the largest on a CPU. Where somebody watches, few at
# first, so that the first text comes soon.
ALONE, WATCHED = (64,), (8, 16, 32, 64)
N_READERS = 4  # files read at the same time

Thing = TypeVar("Thing")


@dataclass(frozen=True)
class Heard:
    """What was found in one of several recordings.

    Attributes:
        transcript: its text.
        languages: codes of those that were spoken, in order; none where nobody speaks.
        seconds: of work, its part of what all took.
    """

    transcript: Transcript
    languages: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class _Read:
    """A recording that was read to its end, and the speech found in it."""

    source: AudioSource
    windows: list[Window]


def in_groups(things: Iterable[Thing], kind_of: Callable[[Thing], Hashable | None], most: Sequence[int] = ALONE
              ) -> Iterator[list[Thing]]:
    """Neighbours that may be decoded as one.

    Args:
        things: taken as they are needed.
        kind_of: what a thing has in common with those it may be decoded with; None: with nothing, it goes by itself.
        most: things in the first group, the second and so on; the last number goes on.

    Yields:
        Every thing once, in order, in lists of at least one.
    """
    sizes, size = iter(most), 0
    group: list[Thing] = []
    kind: Hashable | None = None
    for thing in things:
        own = kind_of(thing)
        if group and (own is None or own != kind or len(group) == size):
            yield group
            group = []
        if not group:
            size = next(sizes, most[-1]) if own is not None else 1
        group.append(thing)
        kind = own
        if kind is None:
            yield group
            group = []
    if group:
        yield group


def transcribe_as_one(
    who: Transcriber, recordings: Sequence[Callable[[], AudioSource]], options: Options, *,
    choose: Choose | None = None, progress: Progress | None = None,
) -> Generator[Heard | UserError, None, None]:
    """Decode short recordings as one.

    Args:
        who: the checkpoint.
        recordings: what opens each of them, called in several threads.
        options: the same for all; the language is a code, or None to detect that of each.
        choose: who decodes what is in a language that was detected; `who` does it all without.
        progress: called with (windows done, of how many).

    Yields:
        What was found in each, in order, or why it cannot be read.

    Raises:
        UserError: the checkpoint cannot do what is asked.
    """
    begun = time.monotonic()
    who.check(options)
    read = _read_each(recordings, lambda source: who.windows(source, options))
    good = [one for one in read if isinstance(one, _Read)]
    parts = iter(_decode_each(good, lambda windows: who.jobs(windows, options, None, choose), options, progress))
    worked, audio = time.monotonic() - begun, sum(one.source.duration for one in good)
    for one in read:
        if isinstance(one, UserError):
            yield one
            continue
        spoken = Languages()
        segments: list[Segment] = []
        languages: dict[str, None] = {}
        for language, new in next(parts):
            segments += new
            spoken.add(Transcript(tuple(new), language, one.source.duration))
            if new:
                languages.setdefault(language)
        yield Heard(who.whole(one.source, segments, spoken, options), tuple(languages),
                    worked * one.source.duration / audio if audio else worked / len(good))


def _read_each(recordings: Sequence[Callable[[], AudioSource]], windows_of: Callable[[AudioSource], Iterator[Window]]
               ) -> list[_Read | UserError]:
    """Every recording, or why it cannot be read."""
    def read(opened: Callable[[], AudioSource]) -> _Read | UserError:
        try:
            source = opened()
            return _Read(source, list(windows_of(source)))
        except UserError as error:
            return error

    with ThreadPoolExecutor(N_READERS) as readers:
        return list(readers.map(read, recordings))


def _decode_each(recordings: Sequence[_Read], jobs_of: Callable[[Iterable[Window]], Iterator[Job]], options: Options,
                 progress: Progress | None) -> list[list[tuple[str, list[Segment]]]]:
    """For each recording (language, segments) of its windows, in order.

    jobs_of: the jobs of one recording's windows.
    """
    owners: list[int] = []  # by place of the job: which recording's it is

    def jobs() -> Iterator[Job]:
        for owner, one in enumerate(recordings):
            for job in jobs_of(one.windows):
                job.place = len(owners)
                owners.append(owner)
                yield job

    parts: dict[int, tuple[str, list[Segment]]] = {}
    batches = Batches(jobs())
    for batch in batches.decoded(options):
        for job, segments, _ in batch:  # what is left of a window comes after it
            parts.setdefault(job.place, (job.language, []))[1].extend(segments)
        if progress is not None:
            progress(batches.n_done, batches.n_known)
    found: list[list[tuple[str, list[Segment]]]] = [[] for _ in recordings]
    for place in sorted(parts):
        found[owners[place]].append(parts[place])
    return found
